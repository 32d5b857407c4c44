//! What would become of a rejected line if it were decided anew. Pure: the line itself and the rules are all it knows.

use crate::pipeline::event::{Event, Payload, Reason, ShardCount};
use crate::pipeline::files::rejected::{Raw, Rejected};
use crate::pipeline::rules::money::is_paid;
use crate::pipeline::split;

/// Lines that are wrong as they stand.
const OF_LINE: &str =
    "the line itself is wrong; correct a copy ('shopctl rejects show FILE:LINE --raw') and import that";
/// Money was asked for.
const FIRST_ANSWER: &str = "the bank's first answer to an order holds for good; sell it under a new order_id";

/// Why the line will be refused again, as far as the line itself and the rules of trade tell; nothing if it may pass.
pub fn refused_again(line: &Rejected, line_bytes_max: usize, count: ShardCount) -> Option<&'static str> {
    let raw = match &line.raw {
        Raw::Whole(raw) if raw.len() <= line_bytes_max => raw,
        _ => return Some("it is longer than events.max_payload_size; raise that first"),
    };
    if memchr::memchr(b'\n', raw).is_some() {
        return Some("it holds a line feed, which no line has: the rejects file was changed");
    }
    // Whether it had a line end is all that its file could tell; here it gets one.
    if split::route(raw, true, count).is_err() {
        return Some(OF_LINE);
    }
    match Event::parse(raw) {
        Ok(event) => by_rules(line.reason, &event.payload),
        Err(_) => Some(OF_LINE),
    }
}

fn by_rules(reason: Reason, payload: &Payload<'_>) -> Option<&'static str> {
    match reason {
        Reason::InsufficientFunds => Some(FIRST_ANSWER),
        Reason::InsufficientStock if is_paid(payload) => Some(FIRST_ANSWER),
        Reason::KeyConflict => Some("its key belongs to an event that was accepted with other content"),
        Reason::OrderConflict => {
            Some("the order is sold already, or known to the bank otherwise; it needs a new order_id")
        }
        Reason::InvalidPrice if names_price(payload) => Some("the price that it names is what is wrong"),
        Reason::ReturnMismatch | Reason::ReturnExceedsPurchase | Reason::RefundExceedsPayment => {
            Some("what was bought and paid does not change any more")
        }
        // What refused these may be otherwise by now, and so may the program.
        Reason::BadJson
        | Reason::BadUtf8
        | Reason::BadLineEnd
        | Reason::NoFinalNewline
        | Reason::TooLong
        | Reason::NoEventType
        | Reason::NoShardKey
        | Reason::Malformed
        | Reason::ShopClosed
        | Reason::UnknownPrice
        | Reason::InvalidPrice
        | Reason::InsufficientStock
        | Reason::PurchaseRejected
        | Reason::OrphanReturn
        | Reason::NegativeStock => None,
    }
}

fn names_price(payload: &Payload<'_>) -> bool {
    matches!(payload, Payload::Purchase { price_at_order: Some(_), .. } | Payload::PriceChange { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::ops::dead_letters::LineAt;
    use crate::pipeline::task::Stage;

    fn again(reason: Reason, raw: &[u8]) -> Option<&'static str> {
        let at = LineAt { file: "20250101000000".parse().unwrap(), line: 1 };
        let raw = Raw::Whole(raw.to_vec());
        let line = Rejected { at, stage: Stage::ShardWorker, reason, detail: String::new(), raw };
        refused_again(&line, 300, ShardCount::new(2).unwrap())
    }

    fn purchase(more: &str) -> Vec<u8> {
        let payload = format!(r#"{{"order_id":1,"shop_id":1,"good_id":1,"qty":1{more}}}"#);
        format!(r#"{{"event_type":1,"payload":{payload},"timestamp":"2025-01-01 00:00:00.000"}}"#).into_bytes()
    }

    #[test]
    fn what_is_wrong_with_the_line_itself_is_refused_again_whatever_it_was_refused_for() {
        let sound = purchase("");
        let mut long = purchase("");
        long.resize(301, b' ');
        for (raw, expected) in [
            (&b"nonsense"[..], "the line itself"),
            (b"\xff", "the line itself"),
            (b"", "the line itself"),
            (&[&sound[..], b"\r"].concat(), "the line itself"),
            (&[&sound[..], b"\n", &sound[..]].concat(), "line feed"),
            (&purchase(r#","user_id":"x""#), "the line itself"),
            (&long, "max_payload_size"),
        ] {
            for reason in [Reason::BadJson, Reason::ShopClosed] {
                assert!(again(reason, raw).unwrap().contains(expected), "{:?}", String::from_utf8_lossy(raw));
            }
        }
        for reason in [Reason::NoFinalNewline, Reason::TooLong, Reason::Malformed, Reason::BadJson] {
            assert_eq!(again(reason, &sound), None, "the program or its limits took another view of it: {reason}");
        }
    }

    #[test]
    fn what_the_rules_hold_for_good_is_refused_again() {
        let (paid, cash, free) =
            (purchase(r#","user_id":7"#), purchase(""), purchase(r#","user_id":7,"price_at_order":0"#));
        let is_again = |reason, raw: &[u8]| again(reason, raw).is_some();
        for raw in [&paid, &cash, &free] {
            assert!(is_again(Reason::InsufficientFunds, raw) && is_again(Reason::OrderConflict, raw));
            assert!(is_again(Reason::KeyConflict, raw) && is_again(Reason::ReturnMismatch, raw));
            assert!(!is_again(Reason::ShopClosed, raw) && !is_again(Reason::UnknownPrice, raw));
        }
        assert!(is_again(Reason::InsufficientStock, &paid), "its money was asked for");
        assert!(!is_again(Reason::InsufficientStock, &cash) && !is_again(Reason::InsufficientStock, &free));
        assert!(is_again(Reason::InvalidPrice, &purchase(r#","price_at_order":-1"#)));
        assert!(!is_again(Reason::InvalidPrice, &cash), "the shop's price may be another by now");
    }
}
