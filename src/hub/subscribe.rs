//! Subscriptions: events in the order of their positions, from any position on.
//!
//! ```text
//! bus --> one reader per process --> broadcast (BUFFER events) --> subscribers that are at the end
//!  '----> a reader of its own, for each subscriber that is behind, until it is at the end
//! ```
//!
//! A slow subscriber slows nothing down: when it is [`BUFFER`] events behind it is ended with [`End::Lagged`], which
//! carries its position, and comes back with that.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::codec::{self, Shown};
use super::failure;
use super::model::{EventType, UserId};
use crate::base::bus::{Bus, Cursor, Delivered, Error, Reader, Start, Topic};
use crate::base::shutdown::Stop;

/// Events that a subscriber may be behind.
pub const BUFFER: usize = 1024;
/// Messages of one look at the bus.
const BATCH_MAX: usize = 500;
/// How long one look at the bus waits for messages.
const WAIT: Duration = Duration::from_secs(30);

/// Which events a subscriber wants.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this user only.
    pub user_id: Option<UserId>,
    /// Of these types only; all where it is empty.
    pub event_types: Vec<EventType>,
}

/// Why a subscription ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The subscriber was too slow.
    #[error("the subscriber was over {BUFFER} events behind; it may come back after position '{0}'")]
    Lagged(Cursor),
    /// The bus does not have all events after the position any more.
    #[error("the events after this position are not kept any more; the oldest that is kept is after '{0}'")]
    OutOfRange(Cursor),
    /// The bus does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// The hub stops.
    #[error("the hub is stopping")]
    Stopping,
}

/// Shows events to subscribers.
#[derive(Clone)]
pub struct Broadcast {
    inner: Arc<Inner>,
}

struct Inner {
    bus: Arc<dyn Bus>,
    topic: Topic,
    live: broadcast::Sender<Live>,
    /// Whether the reader shows everything from now on.
    begun: watch::Receiver<bool>,
    reader: JoinHandle<()>,
}

/// One subscriber's events.
pub struct Subscription {
    broadcast: Broadcast,
    filter: Filter,
    cursor: Cursor,
    source: Source,
}

/// Where a subscription reads.
enum Source {
    /// It is behind: a reader of its own.
    Behind(Box<dyn Reader>, VecDeque<Delivered>),
    /// It is at the end.
    Live(broadcast::Receiver<Live>),
}

/// What the reader of all tells.
#[derive(Clone)]
enum Live {
    /// The next event.
    Event(Arc<Shown>),
    /// The bus lost events that were not shown; it has what is after this.
    Gap(Cursor),
}

impl Filter {
    /// Whether the subscriber wants this event.
    pub fn wants(&self, shown: &Shown) -> bool {
        let event = &shown.delivery.event;
        self.user_id.as_ref().is_none_or(|user| *user == event.user_id)
            && (self.event_types.is_empty() || self.event_types.contains(&event.event_type))
    }
}

impl Broadcast {
    /// Starts the reader.
    pub fn start(bus: Arc<dyn Bus>, topic: Topic) -> Self {
        let (live, _) = broadcast::channel(BUFFER);
        let (begin, begun) = watch::channel(false);
        let reader = tokio::spawn(read(Arc::clone(&bus), topic.clone(), live.clone(), begin));
        Self { inner: Arc::new(Inner { bus, topic, live, begun, reader }) }
    }

    /// Subscribes to the events after `start`.
    ///
    /// # Errors
    /// [`End`] when the bus does not answer or does not have these events.
    pub async fn subscribe(&self, start: Start, filter: Filter) -> Result<Subscription, End> {
        let cursor = match &start {
            Start::After(cursor) => cursor.clone(),
            Start::First => Cursor::new(),
            Start::End => self.inner.bus.bounds(&self.inner.topic).await.map_err(end)?.1,
        };
        // From the end that was just read, not from a later one: nothing is missed in between.
        let start = if start == Start::End { Start::After(cursor.clone()) } else { start };
        let reader = self.inner.bus.read(&self.inner.topic, start).await.map_err(end)?;
        Ok(Subscription { broadcast: self.clone(), filter, cursor, source: Source::Behind(reader, VecDeque::new()) })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Subscription {
    /// The position up to which all wanted events were handed out.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The next event that the subscriber wants.
    ///
    /// # Errors
    /// [`End`] when there is no next one; the subscription is over.
    pub async fn next(&mut self) -> Result<Arc<Shown>, End> {
        loop {
            let shown = match &mut self.source {
                Source::Live(live) => match live.recv().await {
                    Ok(Live::Event(shown)) => shown,
                    Ok(Live::Gap(oldest)) => return Err(End::OutOfRange(oldest)),
                    Err(RecvError::Lagged(_)) => return Err(End::Lagged(self.cursor.clone())),
                    Err(RecvError::Closed) => return Err(End::Stopping),
                },
                Source::Behind(_, waiting) => match waiting.pop_front() {
                    Some(delivered) => match codec::decode(&delivered) {
                        Some(shown) => Arc::new(shown),
                        None => continue,
                    },
                    None => {
                        self.catch_up().await?;
                        continue;
                    }
                },
            };
            let position = shown.delivery.position;
            // What came twice, while the subscription caught up.
            if self.cursor.has_passed(position) {
                continue;
            }
            self.cursor.advance(position);
            if self.filter.wants(&shown) {
                return Ok(shown);
            }
        }
    }

    /// Reads what is missing; at the end goes over to the events of all.
    async fn catch_up(&mut self) -> Result<(), End> {
        // Before the look: what comes after it is in here.
        let live = self.broadcast.inner.live.subscribe();
        let Source::Behind(reader, waiting) = &mut self.source else { return Ok(()) };
        waiting.extend(reader.next(BATCH_MAX, Duration::ZERO).await.map_err(end)?);
        if !waiting.is_empty() {
            return Ok(());
        }
        let mut begun = self.broadcast.inner.begun.clone();
        if *begun.borrow() {
            self.source = Source::Live(live);
            return Ok(());
        }
        // Until the reader of all has begun it would show nothing of what comes now; then one more look closes the gap.
        begun.changed().await.map_err(|_| End::Stopping)
    }
}

fn end(error: Error) -> End {
    match error {
        Error::OutOfRange { oldest } => End::OutOfRange(oldest),
        other => End::Unavailable(other.to_string()),
    }
}

/// Reads the bus for all subscribers that are at the end, as long as the broadcast lives.
async fn read(bus: Arc<dyn Bus>, topic: Topic, live: broadcast::Sender<Live>, begun: watch::Sender<bool>) {
    let mut cursor = None;
    let mut backoff = failure::backoff();
    loop {
        let failure = match show(&*bus, &topic, &live, &begun, &mut cursor).await {
            Ok(never) => match never {},
            Err(Error::OutOfRange { oldest }) => {
                log::error!(oldest:%; "the bus lost events that were not shown; subscribers are told");
                let _receivers = live.send(Live::Gap(oldest.clone()));
                cursor = Some(oldest);
                backoff.pause(&Stop::new()).await;
                continue;
            }
            Err(failure) => failure,
        };
        log::warn!(err:% = failure, wait_ms = backoff.peek().as_millis(); "the bus is not read; subscribers wait");
        // The task is ended with the broadcast, so that no stop ends the wait.
        backoff.pause(&Stop::new()).await;
    }
}

/// Shows what comes, from the end of the bus at the first call, then from where the last one failed.
async fn show(
    bus: &dyn Bus,
    topic: &Topic,
    live: &broadcast::Sender<Live>,
    begun: &watch::Sender<bool>,
    cursor: &mut Option<Cursor>,
) -> Result<Infallible, Error> {
    let cursor = match cursor {
        Some(cursor) => cursor,
        None => cursor.insert(bus.bounds(topic).await?.1),
    };
    let mut reader = bus.read(topic, Start::After(cursor.clone())).await?;
    begun.send_replace(true);
    loop {
        for delivered in reader.next(BATCH_MAX, WAIT).await? {
            cursor.advance(delivered.position);
            // What is no event is skipped: others may write to a stream. Without subscribers there is no receiver.
            if let Some(shown) = codec::decode(&delivered) {
                let _receivers = live.send(Live::Event(Arc::new(shown)));
            }
        }
    }
}
