//! Rule 2: an event that was seen before, by its key (docs/rules.md#2-key).

use super::{Decision, LinePlace, Remembered, Result, TradeState};
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::{Event, Kind, Reason, Reject};
use crate::pipeline::task::FileName;

/// The key by which an event is known: its idempotency key, else for purchases and returns type, order and timestamp.
/// Other events have no business key.
pub fn key_of(event: &Event<'_>) -> Option<Vec<u8>> {
    if let Some(own) = &event.idempotency_key {
        return Some([b"k", own.as_bytes()].concat());
    }
    Some(order_key(event.payload.kind(), event.payload.order_id()?, event.at))
}

/// The key of a purchase or a return that has none of its own.
pub(crate) fn order_key(kind: Kind, order_id: i64, at: Timestamp) -> Vec<u8> {
    [&[b'o', kind.number()][..], &order_id.to_be_bytes(), &at.unix_ms().to_be_bytes()].concat()
}

/// Asks whether the event was seen at another place, and notes it where it was not. The same place is our own re-run.
///
/// # Errors
/// Whatever the state fails with.
pub fn look(event: &Event<'_>, place: LinePlace<'_>, state: &mut impl TradeState) -> Result<Remembered> {
    match key_of(event) {
        Some(key) => Ok(state.remember(&key, place, &event.fingerprint)?),
        None => Ok(Remembered::New),
    }
}

/// The event was not accepted: its key is free again.
///
/// # Errors
/// Whatever the state fails with.
pub fn give_back(event: &Event<'_>, state: &mut impl TradeState) -> Result<()> {
    key_of(event).map_or(Ok(()), |key| Ok(state.forget(&key)?))
}

/// The decision about an event whose key stands for other content.
pub fn conflict(event: &Event<'_>, file: &FileName, line: u64) -> Decision {
    let what = if event.idempotency_key.is_some() { "idempotency_key" } else { "order_id and timestamp" };
    let detail = format!("the same {what} stood with other content at {file} line {line}");
    Decision::Reject(Reject::new(Reason::KeyConflict, detail))
}
