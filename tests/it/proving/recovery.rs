//! How long what was struck takes until it is done: from the kill, by the database itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Class;
use super::poster::State;
use crate::support::database::Rows;
use crate::support::pause;

/// A task at a stage: file, shard, column of the stage's status.
pub(super) type Task = (String, u8, &'static str);

const STAGES: [&str; 3] = ["shard_splitter_status", "shard_worker_status", "mysql_sender_status"];
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The watch over what was struck.
pub(super) struct Recovery {
    database: Box<dyn Rows + Send>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Vec<Waiting>>,
    over: Mutex<Vec<(String, Duration)>>,
    end: AtomicBool,
}

/// What was struck, by which class, and when.
struct Waiting {
    class: String,
    since: Instant,
    what: What,
}

#[derive(PartialEq)]
enum What {
    Task(Task),
    /// The acknowledgement of a post after so many.
    Post(i64),
}

impl Recovery {
    /// Begins to watch, with two connections for reading.
    pub(super) fn watch(database: Box<dyn Rows + Send>, own: Box<dyn Rows + Send>, poster: Arc<State>) -> Self {
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while !of_thread.end.load(Ordering::SeqCst) || !lock(&of_thread.waiting).is_empty() {
                of_thread.look(own.as_ref(), &poster);
                pause(LOOK_EVERY);
            }
        });
        Self { database, shared, thread }
    }

    /// The tasks that somebody holds whose name fits this pattern.
    pub(super) fn leased(&self, whose: &str) -> Vec<Task> {
        let mut all = Vec::new();
        for column in STAGES {
            let query = format!(
                "SELECT filename, shard FROM pipeline_tracking
                 WHERE {column} = 'started' AND lease_until IS NOT NULL AND owner LIKE '{whose}'"
            );
            all.extend(self.database.texts(&query).into_iter().map(|row| {
                let [file, shard] = <[_; 2]>::try_from(row).unwrap().map(Option::unwrap);
                (file, shard.parse().unwrap(), column)
            }));
        }
        all
    }

    /// Waits for what the victim held; answers how much that was. What was struck before begins anew.
    pub(super) fn expect_tasks(&self, class: &str, whose: &str, since: Instant) -> usize {
        let tasks = self.leased(whose);
        let mut waiting = lock(&self.shared.waiting);
        for task in &tasks {
            let what = What::Task(task.clone());
            waiting.retain(|one| one.what != what);
            waiting.push(Waiting { class: class.to_owned(), since, what });
        }
        tasks.len()
    }

    /// Waits for the acknowledgement of a post.
    pub(super) fn expect_post(&self, class: &str, acknowledged: i64, since: Instant) -> bool {
        let what = What::Post(acknowledged);
        lock(&self.shared.waiting).push(Waiting { class: class.to_owned(), since, what });
        true
    }

    /// When everything is done, tells each class how long it took.
    pub(super) fn finish(self, classes: &mut BTreeMap<String, Class>) {
        self.shared.end.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        for (class, took) in lock(&self.shared.over).drain(..) {
            classes.get_mut(&class).unwrap().recovered(took);
        }
    }
}

impl Shared {
    fn look(&self, database: &dyn Rows, poster: &State) {
        let is_over = |one: &mut Waiting| match &one.what {
            What::Post(before) => poster.acknowledged() > *before,
            What::Task((file, shard, column)) => {
                let query =
                    format!("SELECT {column} FROM pipeline_tracking WHERE filename = '{file}' AND shard = {shard}");
                database.texts(&query)[0][0].as_deref() == Some("done")
            }
        };
        let over: Vec<_> = lock(&self.waiting).extract_if(.., is_over).collect();
        lock(&self.over).extend(over.into_iter().map(|one| (one.class, one.since.elapsed())));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
