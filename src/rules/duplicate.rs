//! Rule 2: an event that was seen before, by its key (semantics 4.2).

use super::{Decision, State};
use crate::event::{Event, Kind, Reason, Reject};
use crate::store::{Remembered, Result};

/// The key by which an event is known: its idempotency key, else for purchases and returns type, order and timestamp.
/// Other events have no business key.
pub fn key_of(event: &Event<'_>) -> Option<Vec<u8>> {
    if let Some(own) = &event.idempotency_key {
        return Some([b"k", own.as_bytes()].concat());
    }
    let order_id = event.payload.order_id()?;
    let kind: Kind = event.payload.kind();
    Some([&[b'o', kind.number()][..], &order_id.to_be_bytes(), &event.at.unix_ms().to_be_bytes()].concat())
}

/// Asks whether the event was seen at another place. The same place is our own re-run.
///
/// # Errors
/// Whatever the state fails with.
pub fn check(event: &Event<'_>, line: u64, state: &mut impl State) -> Result<Decision> {
    let Some(key) = key_of(event) else {
        return Ok(Decision::Accept);
    };
    Ok(match state.remember(&key, line, &event.fingerprint)? {
        Remembered::New | Remembered::Here => Decision::Accept,
        Remembered::Elsewhere { file, line } => Decision::Duplicate { file, line },
        Remembered::OtherContent { file, line } => {
            let what = if event.idempotency_key.is_some() { "idempotency_key" } else { "order_id and timestamp" };
            let detail = format!("the same {what} stood with other content at {file} line {line}");
            Decision::Reject(Reject::new(Reason::KeyConflict, detail))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::task::FileName;

    struct Memory(FileName, HashMap<Vec<u8>, (FileName, u64, [u8; 16])>);

    impl State for Memory {
        fn remember(&mut self, key: &[u8], line: u64, fingerprint: &[u8; 16]) -> Result<Remembered> {
            let here = (self.0.clone(), line, *fingerprint);
            let known = self.1.entry(key.to_vec()).or_insert_with(|| here.clone()).clone();
            Ok(match known {
                (file, at, _) if (&file, at) == (&here.0, line) => Remembered::Here,
                (file, line, print) if print == *fingerprint => Remembered::Elsewhere { file, line },
                (file, line, _) => Remembered::OtherContent { file, line },
            })
        }
    }

    fn memory() -> Memory {
        Memory("20250101000000".parse().unwrap(), HashMap::new())
    }

    fn decide(memory: &mut Memory, line: u64, payload: &str, millis: u32) -> Decision {
        let text = format!(
            r#"{{"event_type":1,"payload":{{"shop_id":1,"good_id":1,{payload}}},"timestamp":"2025-01-01 00:00:00.{millis:03}"}}"#
        );
        check(&Event::parse(text.as_bytes()).unwrap(), line, memory).unwrap()
    }

    #[test]
    fn the_same_order_at_the_same_moment_is_a_duplicate() {
        let mut memory = memory();
        let order = r#""order_id":1,"qty":1"#;
        assert_eq!(decide(&mut memory, 1, order, 0), Decision::Accept);
        assert!(matches!(decide(&mut memory, 2, order, 0), Decision::Duplicate { line: 1, .. }));
        assert_eq!(decide(&mut memory, 1, order, 0), Decision::Accept, "our own re-run");
        assert_eq!(decide(&mut memory, 3, order, 1), Decision::Accept, "another moment");
        assert_eq!(decide(&mut memory, 4, r#""order_id":2,"qty":1"#, 0), Decision::Accept, "another order");
    }

    #[test]
    fn the_same_key_with_other_content_is_a_conflict() {
        let mut memory = memory();
        assert_eq!(decide(&mut memory, 1, r#""order_id":1,"qty":1,"idempotency_key":"evt-a""#, 0), Decision::Accept);
        let other = decide(&mut memory, 2, r#""order_id":1,"qty":2,"idempotency_key":"evt-a""#, 0);
        assert!(matches!(other, Decision::Reject(Reject { reason: Reason::KeyConflict, .. })));
        let late = decide(&mut memory, 3, r#""order_id":1,"qty":1,"idempotency_key":"evt-a""#, 7);
        assert!(matches!(late, Decision::Duplicate { .. }), "the moment is not part of the content");
        assert_eq!(decide(&mut memory, 4, r#""order_id":1,"qty":1,"idempotency_key":"EVT-A""#, 0), Decision::Accept);
    }

    #[test]
    fn a_given_key_never_meets_a_made_one() {
        let text = r#"{"event_type":1,"payload":{"order_id":1,"shop_id":1,"good_id":1,"qty":1},"timestamp":"2025-01-01 00:00:00.000"}"#;
        let made = key_of(&Event::parse(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(made.first(), Some(&b'o'));
        assert_eq!(made.len(), 18);
    }
}
