//! How long what was struck takes until it is done: from the kill, by the database itself.
//!
//! A recovery begins when a task is struck that a living process has claimed, and ends when the stage of the task is
//! done; as long as no worker has claimed it again, further kills neither begin another one nor set the first one back.
//! If one has, and is struck, the first recovery ends with this kill and a second one begins.

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
/// A task that a worker has claimed, and the token of the claim.
type Held = (Task, i64);

const STAGES: [&str; 3] = ["shard_splitter_status", "shard_worker_status", "mysql_sender_status"];
const PROBE_EVERY: Duration = Duration::from_millis(5);

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

enum What {
    /// A task, and the token of the claim that was struck.
    Task(Task, i64),
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
                pause(PROBE_EVERY);
            }
        });
        Self { database, shared, thread }
    }

    /// Waits for the tasks that these processes hold.
    pub(super) fn expect_tasks(&self, class: &str, owners: &[u32], since: Instant) {
        self.shared.strike(class, leased(self.database.as_ref(), owners), since);
    }

    /// Waits for the acknowledgement of a post.
    pub(super) fn expect_post(&self, class: &str, acknowledged: i64, since: Instant) {
        let what = What::Post(acknowledged);
        lock(&self.shared.waiting).push(Waiting { class: class.to_owned(), since, what });
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
    fn strike(&self, class: &str, held: Vec<Held>, since: Instant) {
        let mut waiting = lock(&self.waiting);
        for (task, token) in held {
            let is_it = |one: &Waiting| matches!(&one.what, What::Task(other, _) if *other == task);
            if let Some(at) = waiting.iter().position(is_it) {
                if matches!(waiting[at].what, What::Task(_, struck) if struck == token) {
                    continue;
                }
                let first = waiting.swap_remove(at);
                lock(&self.over).push((first.class, since.duration_since(first.since)));
            }
            waiting.push(Waiting { class: class.to_owned(), since, what: What::Task(task, token) });
        }
    }

    fn look(&self, database: &dyn Rows, poster: &State) {
        let is_over = |one: &mut Waiting| match &one.what {
            What::Post(before) => poster.acknowledged() > *before,
            What::Task((file, shard, column), _) => {
                let query =
                    format!("SELECT {column} FROM pipeline_tracking WHERE filename = '{file}' AND shard = {shard}");
                database.texts(&query)[0][0].as_deref() == Some("done")
            }
        };
        let over: Vec<_> = lock(&self.waiting).extract_if(.., is_over).collect();
        lock(&self.over).extend(over.into_iter().map(|one| (one.class, one.since.elapsed())));
    }
}

/// The tasks that these processes hold.
pub(super) fn leased(tracking: &dyn Rows, owners: &[u32]) -> Vec<Held> {
    let whose: Vec<_> = owners.iter().map(|id| format!("owner LIKE '%-{id}-%'")).collect();
    leased_where(tracking, &whose.join(" OR "))
}

/// The tasks that a worker holds.
pub(super) fn leased_by_anyone(tracking: &dyn Rows) -> Vec<Held> {
    leased_where(tracking, "owner IS NOT NULL")
}

fn leased_where(tracking: &dyn Rows, whose: &str) -> Vec<Held> {
    let mut all = Vec::new();
    for column in STAGES {
        let query = format!(
            "SELECT filename, shard, token FROM pipeline_tracking
             WHERE {column} = 'started' AND lease_until IS NOT NULL AND ({whose})"
        );
        all.extend(tracking.texts(&query).into_iter().map(|row| {
            let [file, shard, token] = <[_; 3]>::try_from(row).unwrap().map(Option::unwrap);
            ((file, shard.parse().unwrap(), column), token.parse().unwrap())
        }));
    }
    all
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_recovery_goes_on_until_a_process_that_claimed_again_is_struck() {
    let (shared, began) = (Shared::default(), Instant::now());
    let at = |secs| began + Duration::from_secs(secs);
    let task = |token| vec![(("20250301080000".to_owned(), 0, STAGES[1]), token)];
    shared.strike("first", task(7), at(0));
    shared.strike("meanwhile", task(7), at(2));
    assert!(lock(&shared.over).is_empty(), "no worker has claimed it since the first kill");
    shared.strike("second", task(8), at(3));
    assert_eq!(*lock(&shared.over), [("first".to_owned(), Duration::from_secs(3))]);
    let waiting: Vec<_> = lock(&shared.waiting).drain(..).map(|one| (one.class, one.since)).collect();
    assert_eq!(waiting, [("second".to_owned(), at(3))]);
}
