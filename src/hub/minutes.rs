//! The per-minute metrics: reads the bus as a group, and counts each event in the minute in which it happened.
//!
//! That an event was counted is part of the event in the store, in the same transaction as its minute. So a message that
//! comes twice, a bus that is filled again, and a kill at any moment count nothing twice.

use std::sync::Arc;
use std::time::Duration;

use super::codec;
use super::failure::{self, Failure};
use super::store::{CountReport, Delivery, HubStore};
use crate::base::backoff::Backoff;
use crate::base::bus::{Bus, Cursor, Delivered, Error, Group, Member, Start, Topic};
use crate::base::shutdown::Stop;

/// The group's name on the bus.
pub const GROUP: &str = "hub-metrics";
/// Events of one transaction at the most.
const BATCH_MAX: usize = 1000;
/// How long one look at the bus waits for messages.
const WAIT: Duration = Duration::from_secs(2);

/// Counts events in their minutes.
pub struct Minutes {
    store: Arc<dyn HubStore>,
    bus: Arc<dyn Bus>,
    topic: Topic,
    group: Group,
    observe: Box<dyn Fn(CountReport) + Send + Sync>,
}

impl Minutes {
    /// A consumer of this topic. `observe` is told what became of each batch.
    pub fn new(
        store: Arc<dyn HubStore>,
        bus: Arc<dyn Bus>,
        topic: Topic,
        group: Group,
        observe: impl Fn(CountReport) + Send + Sync + 'static,
    ) -> Self {
        Self { store, bus, topic, group, observe: Box::new(observe) }
    }

    /// Counts until the stop is requested; then leaves the group.
    pub async fn run(self, stop: Stop) {
        let mut backoff = failure::backoff();
        while !stop.is_requested() {
            match self.consume(&stop, &mut backoff).await {
                Ok(()) => return,
                Err(failure) => {
                    log::warn!(err:% = failure, wait_ms = backoff.peek().as_millis(); "events were not counted; they come again");
                    backoff.pause(&stop).await;
                }
            }
        }
    }

    async fn consume(&self, stop: &Stop, backoff: &mut Backoff) -> Result<(), Failure> {
        let mut member = self.bus.join(&self.topic, &self.group, Start::First).await?;
        while !stop.is_requested() {
            let messages = tokio::select! {
                messages = member.next(BATCH_MAX, WAIT) => messages?,
                () = stop.requested() => break,
            };
            if !messages.is_empty() {
                self.count(&mut *member, &messages).await?;
            }
            backoff.reset();
        }
        Ok(member.leave().await?)
    }

    /// Counts messages, then acknowledges them: a kill in between has them come again.
    async fn count(&self, member: &mut dyn Member, messages: &[Delivered]) -> Result<(), Failure> {
        let deliveries: Vec<Delivery> = messages.iter().filter_map(delivery).collect();
        let report = self.store.count(&deliveries).await?;
        (self.observe)(report);
        let last: Cursor = messages.iter().map(|message| message.position).collect();
        match member.ack(&last.positions().collect::<Vec<_>>()).await {
            // Another member has the partition, and gets the same again: it counts nothing twice.
            Err(Error::Lost) => Ok(()),
            result => Ok(result?),
        }
    }
}

/// The event of a message. What is no event is skipped: others may write to a stream.
fn delivery(delivered: &Delivered) -> Option<Delivery> {
    let shown = codec::decode(delivered);
    if shown.is_none() {
        log::error!(position:% = delivered.position, id:% = delivered.message.id; "a message of the bus is no event; it is not counted");
    }
    shown.map(|shown| shown.delivery)
}
