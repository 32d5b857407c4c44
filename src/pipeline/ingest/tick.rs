//! The ingest's clock: at every multiple of the interval the posted and generated lines become one event file.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::claim::cleanup::{clear_at_stop, clear_until_stop};
use super::arrivals::Arrivals;
use crate::base::boot::Failure;
use crate::base::clock::Clock;
use crate::base::http::Readiness;
use crate::base::shutdown::Stop;
use crate::base::timestamp::Timestamp;
use crate::pipeline::apid::client::ClientError;
use crate::pipeline::boot;
use crate::pipeline::cache::client::CacheClient;
use crate::pipeline::claim::cleanup::Cleaner;
use crate::pipeline::claim::fault::class_of_disk;
use crate::pipeline::files::folder::Folder;
use crate::pipeline::ingest::announce::Announcer;
use crate::pipeline::ingest::flush::FlushTimer;
use crate::pipeline::ingest::generator::{Generator, Rates};
use crate::pipeline::ingest::journal::Published;
use crate::pipeline::ingest::writer::Writer;
use crate::pipeline::settings::Context;
use crate::pipeline::settings::{Settings, principal};
use crate::pipeline::task::FileName;

/// Files that wait to be announced; more are found by the next comparison with the API.
const ANNOUNCE_QUEUE: usize = 4096;
/// Between two comparisons of the folder with the API. What this process wrote itself is announced at once and, until
/// the API knows it, at every tick; the comparison finds what others wrote.
const COMPARE_EVERY: Duration = Duration::from_secs(60);

/// The flush files for returns that are due.
#[derive(Default)]
struct Flushes {
    timer: FlushTimer,
    /// Whether the cache-service did not answer when it was asked last.
    is_unanswered: bool,
}

impl Flushes {
    /// How many returns are due, if the cache-service says so. Where it may be missing, because there are no early
    /// returns, one line is enough.
    fn due_of(&mut self, answer: Result<u64, ClientError>) -> Option<u64> {
        let was_unanswered = std::mem::replace(&mut self.is_unanswered, answer.is_err());
        match answer {
            Ok(due) => {
                if was_unanswered {
                    log::info!("the cache-service says again whether returns are due");
                }
                Some(due)
            }
            Err(e) => {
                let level = if was_unanswered { log::Level::Debug } else { log::Level::Warn };
                log::log!(level, "no flush files are made: {e}; is cache.url right?");
                None
            }
        }
    }
}

/// The running ingest.
pub(crate) struct Ingest {
    writer: Writer,
    announce: mpsc::Sender<FileName>,
    announcer_ended: JoinHandle<()>,
    last_tick: Arc<Mutex<Option<Timestamp>>>,
    /// The service that knows how many returns are due.
    cache: CacheClient,
    arrivals: Arrivals,
    /// Whether flush files are made by the timer.
    is_flushing: bool,
    settings: Arc<Settings>,
    readiness: Readiness,
    clock: Clock,
    stop: Stop,
}

impl Ingest {
    /// Takes over what an earlier run left and starts the writer and the announcer.
    pub(crate) fn start(ctx: &Context, folder: Folder, is_flushing: bool) -> Result<Self, Failure> {
        let writer = Writer::start(folder)?;
        let (announce, files) = mpsc::channel(ANNOUNCE_QUEUE);
        let announcer = Announcer::new(&ctx.settings).observed(boot::call_observer(ctx));
        let (readiness, stop) = (ctx.readiness.clone(), ctx.stop.clone());
        let interval = ctx.settings.events.generation_interval;
        let announcer_ended =
            tokio::task::spawn_blocking(move || keep_announcing(announcer, files, &readiness, interval, &stop));
        Ok(Self {
            writer,
            announce,
            announcer_ended,
            last_tick: Arc::default(),
            cache: CacheClient::of(&ctx.settings, principal::EVENT_INGEST).observed(boot::call_observer(ctx)),
            arrivals: Arrivals::register(&ctx.metrics),
            is_flushing,
            settings: Arc::clone(&ctx.settings),
            readiness: ctx.readiness.clone(),
            clock: ctx.clock.clone(),
            stop: ctx.stop.clone(),
        })
    }

    /// The writer, for posts.
    pub(crate) fn writer(&self) -> Writer {
        self.writer.clone()
    }

    /// Who counts the events that come in.
    pub(crate) fn arrivals(&self) -> Arrivals {
        self.arrivals.clone()
    }

    /// The moment of the last tick, for the statistics.
    pub(crate) fn last_tick(&self) -> Arc<Mutex<Option<Timestamp>>> {
        Arc::clone(&self.last_tick)
    }

    /// Ticks until the stop is requested, then publishes what was posted and announces it once more.
    pub(crate) async fn run(self, cleaner: Cleaner) -> Result<(), Failure> {
        let events = &self.settings.events;
        let rates = Rates {
            duplicates: events.duplicate_rate,
            malformed: events.malformed_rate,
            out_of_order: events.out_of_order_rate,
        };
        let mut generator = events.generate.then(|| Generator::new(events.seed, rates, self.clock.now()));
        let stop = self.stop.clone();
        let ticker = tokio::task::spawn_blocking(move || clear_until_stop(cleaner, &stop));
        let (mut failures, mut flushes) = (0, Flushes::default());
        while let Some(tick) = self.next_tick().await {
            let more = generator.as_mut().map_or_else(Vec::new, |generator| self.generate(generator, tick));
            let published = self.publish(tick, more).await;
            self.readiness.set("disk", published.as_ref().err().map(ToString::to_string));
            match published {
                Ok(0) => {
                    failures = 0;
                    self.flush(&mut flushes, tick).await;
                }
                Ok(_) => {
                    failures = 0;
                    flushes.timer.file_made();
                }
                // What was posted is kept for the next tick. A disk that refuses for long is a person's business.
                Err(e) => {
                    failures += 1;
                    log::error!(failures; "the tick failed: {e}");
                }
            }
        }
        let last = self.publish(self.clock.now(), Vec::new()).await;
        drop(self.announce);
        self.announcer_ended.await?;
        clear_at_stop(ticker.await?, self.stop.clone()).await?;
        last.map(drop)
    }

    /// Publishes what was posted; answers how many files that made.
    async fn publish(&self, tick: Timestamp, more: Vec<u8>) -> Result<usize, Failure> {
        let published = self.writer.publish(FileName::of(tick), more).await;
        let published = published.map_err(|e| Failure::new(class_of_disk(&e).tag(&e)))?;
        *self.last_tick.lock().unwrap_or_else(PoisonError::into_inner) = Some(tick);
        self.announce(published)
    }

    /// Makes a flush file if returns are due and no file was made for a while.
    async fn flush(&self, flushes: &mut Flushes, tick: Timestamp) {
        if !self.is_flushing || !flushes.timer.is_time(self.settings.events.generation_interval) {
            return;
        }
        let cache = self.cache.clone();
        let asked = tokio::task::spawn_blocking(move || cache.backlog().map(|backlog| backlog.due)).await;
        let due = match asked {
            Ok(answer) => flushes.due_of(answer),
            Err(e) => return log::error!("asking for the returns that are due ended abnormally: {e}"),
        };
        let Some(due) = due.filter(|due| flushes.timer.is_wanted(*due)) else {
            return;
        };
        let published = self.writer.publish_flush(FileName::of(tick)).await.map_err(Failure::from);
        match published.and_then(|published| self.announce(published)) {
            Ok(_) => log::info!(due; "returns are due: made a flush file for them"),
            Err(e) => log::error!("a flush file could not be made: {e}"),
        }
    }

    fn announce(&self, published: Published) -> Result<usize, Failure> {
        let count = published.files.len();
        for file in published.files {
            // A full queue is no loss: the comparison finds the file.
            if self.announce.try_send(file).is_err() {
                log::warn!("too many files wait to be announced");
            }
        }
        match (published.dropped, published.refusing) {
            (Some(e), _) => Err(Failure::new(format!("generated events were dropped: {e}"))),
            (None, Some(e)) => Err(Failure::new(format!("posted events cannot be made durable: {e}"))),
            (None, None) => Ok(count),
        }
    }

    /// 1 to min(events_per_batch, max_batch_size) lines; how many is part of the seeded world.
    fn generate(&self, generator: &mut Generator, tick: Timestamp) -> Vec<u8> {
        let most = self.settings.events.events_per_batch.min(self.settings.events.max_batch_size);
        let mut lines = Vec::new();
        let count = generator.pick_count(most);
        generator.write_events(tick, count, &mut lines);
        self.arrivals.generated(&lines);
        lines
    }

    /// Waits for the next multiple of the interval; `None` when the stop is requested.
    async fn next_tick(&self) -> Option<Timestamp> {
        let interval = i64::try_from(self.settings.events.generation_interval.as_millis()).unwrap_or(i64::MAX).max(1);
        let now = self.clock.now().unix_ms();
        let next = (now.div_euclid(interval) + 1).saturating_mul(interval);
        let wait = Duration::from_millis(u64::try_from(next - now).unwrap_or(0));
        tokio::select! {
            () = tokio::time::sleep(wait) => Some(Timestamp::from_unix_ms(next)),
            () = self.stop.requested() => None,
        }
    }
}

/// Announces files as they come and again every interval until the API knows them; ends when no more can come. What is
/// new waits neither for the comparison, if that fails, nor for the files to be read back; a stop for none of them.
fn keep_announcing(
    mut announcer: Announcer,
    mut files: mpsc::Receiver<FileName>,
    readiness: &Readiness,
    interval: Duration,
    stop: &Stop,
) {
    let handle = tokio::runtime::Handle::current();
    let mut compared: Option<Instant> = None;
    loop {
        let is_late = || stop.is_giving_back();
        let mut result = announcer.announce_until(&is_late);
        if compared.is_none_or(|at| at.elapsed() > COMPARE_EVERY) && !stop.is_requested() {
            let found = announcer.compare(stop);
            if found.is_ok() {
                compared = Some(Instant::now());
            }
            result = result.and(found.map(drop)).and_then(|()| announcer.announce_until(&is_late));
        }
        if let Err(fault) = &result {
            log::warn!(files = announcer.pending(); "not announced yet: {fault}");
        }
        readiness.set("apid", result.err().map(|fault| fault.to_string()));
        announcer.read_back(&|| stop.is_requested() || !files.is_empty());
        match handle.block_on(async { tokio::time::timeout(interval, files.recv()).await }) {
            Ok(Some(file)) => announcer.add_fresh(file),
            Ok(None) => return,
            Err(_) => {}
        }
        while let Ok(file) = files.try_recv() {
            announcer.add_fresh(file);
        }
    }
}
