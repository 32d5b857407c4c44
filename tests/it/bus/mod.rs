//! The suite of the bus: written against the traits, run on every bus.
//!
//! To add a bus: implement [`Ground`] beside [`Log`], and add one module to [`on_every_bus`].

mod groups;
mod log;
mod order;
mod readers;

use std::sync::Arc;
use std::time::Duration;

use shopctl::base::bus::{Bus, Delivered, Group, Member, Message, Position, Reader, Start, Topic};
use uuid::Uuid;

/// The longest that something which must come is waited for. Nothing depends on how long it takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// For a look that does not wait.
const AT_ONCE: Duration = Duration::ZERO;

/// A bus with a fresh place for one test.
#[async_trait::async_trait]
trait Ground: Send + Sync {
    /// Opens the bus, as another process would.
    async fn open(&self) -> Arc<dyn Bus>;

    /// Stops the bus and starts it again, with what was durable.
    async fn restart(&self);

    /// Lets so much time pass that members renew their leases with their next call.
    async fn pass(&self);

    /// Lets the leases of members run out that say nothing any more.
    async fn lapse(&self);
}

/// A topic of its own for each test.
fn topic(partitions: u32) -> Topic {
    Topic::new(&format!("test-{}", Uuid::new_v4()), partitions).unwrap()
}

fn group(name: &str) -> Group {
    Group::new(name).unwrap()
}

/// A message that says which of its key it is.
fn message(key: usize, number: usize) -> Message {
    Message {
        id: Uuid::new_v4(),
        key: format!("key{key}").into_bytes(),
        value: format!("{key}:{number}").into_bytes(),
        headers: vec![("type".into(), "test".into()), ("ümlaut".into(), "ä\n".into())],
    }
}

/// What a message of [`message`] says.
fn said(delivered: &Delivered) -> (usize, usize) {
    let text = String::from_utf8(delivered.message.value.clone()).unwrap();
    let (key, number) = text.split_once(':').unwrap();
    (key.parse().unwrap(), number.parse().unwrap())
}

/// Publishes messages in batches that every bus takes; all must be taken.
async fn publish(bus: &dyn Bus, topic: &Topic, messages: &[Message]) -> Vec<Position> {
    let mut positions = Vec::new();
    for batch in messages.chunks(200) {
        positions.extend(bus.publish(topic, batch).await.unwrap().into_iter().map(Result::unwrap));
    }
    positions
}

/// Messages of so many keys, so many of each, one key after the other.
fn round_robin(keys: usize, each: usize) -> Vec<Message> {
    (0..each).flat_map(|number| (0..keys).map(move |key| message(key, number))).collect()
}

/// Reads until so many messages came.
async fn read_exactly<R: Reader + ?Sized>(reader: &mut R, count: usize) -> Vec<Delivered> {
    let mut messages = Vec::new();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while messages.len() < count {
        assert!(tokio::time::Instant::now() < deadline, "{} of {count} messages came", messages.len());
        messages.extend(reader.next(count - messages.len(), Duration::from_millis(500)).await.unwrap());
    }
    messages
}

/// Acknowledges messages as one does who worked through them.
async fn ack(member: &mut dyn Member, messages: &[Delivered]) -> shopctl::base::bus::Result<()> {
    let last: shopctl::base::bus::Cursor = messages.iter().map(|message| message.position).collect();
    member.ack(&last.positions().collect::<Vec<_>>()).await
}

async fn join(bus: &dyn Bus, topic: &Topic, name: &str) -> Box<dyn Member> {
    bus.join(topic, &group(name), Start::First).await.unwrap()
}

/// All tests of the suite on one bus.
macro_rules! on_every_bus {
    ($($bus:ident: $ground:expr;)+) => {$(
        mod $bus {
            use super::*;

            crate::support::cases::cases!($ground;
                order::{
                    a_thousand_keys_keep_their_order,
                    the_order_of_a_key_survives_the_death_of_members,
                    joins_and_leaves_lose_nothing,
                    a_large_message_passes_and_one_too_large_is_refused_alone,
                }
                groups::{
                    what_is_not_acknowledged_comes_again,
                    an_acknowledgement_survives_a_restart,
                    two_groups_get_everything_each,
                    the_lag_is_what_is_not_acknowledged,
                    a_member_that_lost_its_partition_is_told,
                    partitions_are_shared_evenly,
                    a_new_group_begins_where_it_is_told,
                }
                readers::{
                    a_reader_goes_on_after_its_position,
                    a_reader_that_waits_is_woken,
                    another_number_of_partitions_is_refused,
                    a_position_that_the_bus_does_not_have_is_refused,
                }
            );
        }
    )+};
}

on_every_bus! {
    on_the_log: log::Log::new();
}
