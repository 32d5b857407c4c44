//! What all doors share: they take events, show events and add up minutes through here and nowhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::codec::Shown;
use super::measures::{Counted, Door, Measures};
use super::model::{Draft, Field, Rejection};
use super::service::{Service, Verdict};
use super::settings::{self, HUB_READER, HUB_WRITER};
use super::store::HubStore;
use super::subscribe::{Broadcast, End, Filter, Subscription};
use super::totals::{self, Totals};
use crate::base::bus::{Cursor, Start};
use crate::base::db::{Error, Result};
use crate::base::http::{Caller, Callers, Permit, Readiness};
use crate::base::shutdown::Stop;
use crate::base::timestamp::Timestamp;

/// The call is one that sends events.
pub const WRITES: Permit = Permit::to(HUB_WRITER);
/// The call is one that looks at them.
pub const READS: Permit = Permit::to(HUB_READER);
/// The call may be either: what it sends tells which.
pub const READS_OR_WRITES: Permit = READS.or(HUB_WRITER);
/// How often a stream of server-sent events on which nothing happens says so: proxies close what is silent for a minute.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Between two looks at the store.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Looks between two deletions of what is old: a minute.
const EXPIRE_EVERY: u32 = 12;
/// Events, and minutes, that are deleted at once.
const EXPIRED_MAX: u64 = 5_000;
/// The label of the metrics for events of a type that the hub does not know.
const OTHER_TYPE: &str = "other";

/// What all doors share; cloning shares it.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

struct Inner {
    service: Service,
    broadcast: Broadcast,
    callers: Callers,
    measures: Measures,
    settings: settings::Hub,
    stop: Stop,
    /// Whether so many events wait for the bus that no more are taken.
    is_full: AtomicBool,
}

/// A subscription of a door: counted, and ended with the role.
pub struct Watch {
    subscription: Subscription,
    counted: Counted,
    stop: Stop,
}

impl Api {
    /// The API over a service and its broadcast.
    pub fn new(
        service: Service,
        broadcast: Broadcast,
        callers: Callers,
        measures: Measures,
        settings: settings::Hub,
        stop: Stop,
    ) -> Self {
        let is_full = AtomicBool::new(false);
        Self { inner: Arc::new(Inner { service, broadcast, callers, measures, settings, stop, is_full }) }
    }

    /// The settings.
    pub fn settings(&self) -> &settings::Hub {
        &self.inner.settings
    }

    /// Knows callers, for doors to which tokens come in another way than in the head of a request.
    pub fn callers(&self) -> &Callers {
        &self.inner.callers
    }

    /// What the doors measure.
    pub fn measures(&self) -> &Measures {
        &self.inner.measures
    }

    /// When to end what has no end.
    pub fn stop(&self) -> &Stop {
        &self.inner.stop
    }

    /// The store, for what only reads.
    pub fn store(&self) -> &dyn HubStore {
        &**self.inner.service.store()
    }

    /// The moment by the hub's clock.
    pub fn now(&self) -> Timestamp {
        self.inner.service.clock().now()
    }

    /// Takes one event, as a door read it: what could not be read is a rejection already, and is counted like one.
    ///
    /// # Errors
    /// [`Error`] when events are not taken now: the caller may try again.
    pub async fn accept(
        &self,
        door: Door,
        caller: Caller,
        draft: std::result::Result<Draft, Rejection>,
    ) -> Result<Verdict> {
        let mut verdicts = self.accept_all(door, caller, vec![draft]).await?;
        verdicts.pop().ok_or_else(|| Error::broken("an event got no verdict".to_owned()))
    }

    /// Takes a batch; one verdict each, in their order.
    ///
    /// # Errors
    /// As [`Api::accept`]; then nothing of the batch is kept.
    pub async fn accept_all(
        &self,
        door: Door,
        caller: Caller,
        drafts: Vec<std::result::Result<Draft, Rejection>>,
    ) -> Result<Vec<Verdict>> {
        if self.inner.is_full.load(Ordering::Relaxed) {
            let most = self.inner.settings.backlog_max;
            return Err(Error::unavailable(format!(
                "{most} events wait for the bus (hub.backlog_max); try again later"
            )));
        }
        let types: Vec<String> = drafts.iter().map(|draft| self.type_label(draft.as_ref().ok())).collect();
        let begun = Instant::now();
        let verdicts = self.inner.service.accept_all(drafts, caller.name()).await?;
        self.inner.measures.accepted(door, begun.elapsed());
        for (event_type, verdict) in types.iter().zip(&verdicts) {
            self.inner.measures.verdict(door, event_type, verdict.outcome());
        }
        Ok(verdicts)
    }

    /// The type of an event for the metrics: one of a closed set.
    fn type_label(&self, draft: Option<&Draft>) -> String {
        let named = match draft.map(|draft| &draft.event_type) {
            Some(Field::Text(name)) => name.as_str(),
            _ => OTHER_TYPE,
        };
        let is_known = self.inner.settings.event_types.iter().any(|known| known.as_str() == named);
        if is_known { named } else { OTHER_TYPE }.to_owned()
    }

    /// Subscribes to events after a position.
    ///
    /// # Errors
    /// [`End`] when the bus does not answer or does not have these events.
    pub async fn subscribe(&self, door: Door, start: Start, filter: Filter) -> std::result::Result<Watch, End> {
        let subscription = self.inner.broadcast.subscribe(start, filter).await?;
        let counted = self.inner.measures.subscriber(door);
        Ok(Watch { subscription, counted, stop: self.inner.stop.clone() })
    }

    /// What the last minutes add up to.
    ///
    /// # Errors
    /// The store's.
    pub async fn totals(&self, minutes: u32) -> Result<Totals> {
        totals::recent(self.store(), self.now(), minutes).await
    }

    /// Keeps `/ready` and the metrics up to date until the stop is requested.
    pub async fn keep_ready(self, readiness: Readiness) {
        let stop = self.inner.stop.clone();
        tokio::select! {
            () = self.probe_on(&readiness) => {}
            () = stop.requested() => {}
        }
    }

    /// Deletes what is older than it is to be kept, a limited number at a time.
    async fn expire(&self) {
        let (now, settings) = (self.now(), &self.inner.settings);
        let events = self.store().expire_events(now.minus(settings.retention), EXPIRED_MAX).await;
        let minutes = self.store().expire_minutes(now.minus(settings.minutes_kept), EXPIRED_MAX).await;
        if let Err(e) = events.and(minutes) {
            log::warn!("old events were not deleted; they will be: {e}");
        }
    }

    async fn probe_on(&self, readiness: &Readiness) {
        for look in 0_u32.. {
            if look.is_multiple_of(EXPIRE_EVERY) {
                self.expire().await;
            }
            let most = self.inner.settings.backlog_max;
            let looked = match self.store().ping().await {
                Ok(()) => self.store().backlog(most).await,
                Err(e) => Err(e),
            };
            match looked {
                Ok(backlog) => {
                    self.inner.measures.show_backlog(backlog);
                    let is_full = backlog.events >= most;
                    self.inner.is_full.store(is_full, Ordering::Relaxed);
                    readiness.set("database", None);
                    let why = || format!("{} events wait for the bus; is it there?", backlog.events);
                    readiness.set("bus", is_full.then(why));
                }
                Err(e) => {
                    log::warn!("the hub's database does not answer: {e}");
                    readiness.set("database", Some(e.to_string()));
                }
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }
}

impl Watch {
    /// The position up to which all events that are wanted were handed out.
    pub fn cursor(&self) -> &Cursor {
        self.subscription.cursor()
    }

    /// The next event.
    ///
    /// # Errors
    /// [`End`] when there is no next one.
    pub async fn next(&mut self) -> std::result::Result<Arc<Shown>, End> {
        let next = tokio::select! {
            next = self.subscription.next() => next,
            () = self.stop.requested() => Err(End::Stopping),
        };
        match &next {
            Ok(_) => self.counted.delivered(),
            Err(End::Lagged(_)) => self.counted.lagged(),
            Err(_) => {}
        }
        next
    }
}

/// Where a subscription begins, as callers write it: nothing is now, `first` is the oldest event that is kept, and what
/// else there is must be a position that the hub gave.
///
/// # Errors
/// A sentence about a text that is none of these.
pub fn start_of(after: Option<&str>) -> std::result::Result<Start, String> {
    match after {
        None | Some("") => Ok(Start::End),
        Some("first") => Ok(Start::First),
        Some(text) => match text.parse::<Cursor>() {
            Ok(cursor) => Ok(Start::After(cursor)),
            Err(_) => Err("'after' must be 'first' or a position that the hub gave".to_owned()),
        },
    }
}
