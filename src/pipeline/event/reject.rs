//! Rejected lines: kept whole with the reason, one JSON object a line (docs/contracts.md, 2).

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use base64::prelude::BASE64_STANDARD;
use base64::write::EncoderWriter;
use serde::Serialize;

/// Why a line was refused. The code is stable: it stands in rejects files, metrics and documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The line is no JSON.
    BadJson,
    /// The line is not UTF-8.
    BadUtf8,
    /// The line ends in CR LF instead of LF.
    BadLineEnd,
    /// The last line of the file has no line end: the file may have been cut short.
    NoFinalNewline,
    /// The line is longer than `[events] max_payload_size`.
    TooLong,
    /// There is no `event_type` within 0 to 4.
    NoEventType,
    /// There is no usable `shop_id` (or `order_id`, for returns).
    NoShardKey,
    /// The line is JSON but no sound event: no object, a key twice, a field missing, of the wrong type or out of range.
    Malformed,
    /// The key was seen before with another payload.
    KeyConflict,
    /// The order was bought already, under another key.
    OrderConflict,
    /// The shop is closed.
    ShopClosed,
    /// Neither the purchase nor the shop says what the good costs.
    UnknownPrice,
    /// A price is below zero, or the purchase comes to more than an account can hold.
    InvalidPrice,
    /// The user has not enough money.
    InsufficientFunds,
    /// The shop has not enough of the good.
    InsufficientStock,
    /// The return names another good or another user than the purchase.
    ReturnMismatch,
    /// More is returned than was bought.
    ReturnExceedsPurchase,
    /// More money is to be given back than was paid.
    RefundExceedsPayment,
    /// The purchase that is returned was itself rejected.
    PurchaseRejected,
    /// The purchase that is returned never came.
    OrphanReturn,
    /// The stock would be below zero.
    NegativeStock,
}

impl Reason {
    /// All reasons, for counters and documents.
    pub const ALL: [Self; 21] = [
        Self::BadJson,
        Self::BadUtf8,
        Self::BadLineEnd,
        Self::NoFinalNewline,
        Self::TooLong,
        Self::NoEventType,
        Self::NoShardKey,
        Self::Malformed,
        Self::KeyConflict,
        Self::OrderConflict,
        Self::ShopClosed,
        Self::UnknownPrice,
        Self::InvalidPrice,
        Self::InsufficientFunds,
        Self::InsufficientStock,
        Self::ReturnMismatch,
        Self::ReturnExceedsPurchase,
        Self::RefundExceedsPayment,
        Self::PurchaseRejected,
        Self::OrphanReturn,
        Self::NegativeStock,
    ];

    /// The stable code of this reason.
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadJson => "bad_json",
            Self::BadUtf8 => "bad_utf8",
            Self::BadLineEnd => "bad_line_end",
            Self::NoFinalNewline => "no_final_newline",
            Self::TooLong => "too_long",
            Self::NoEventType => "no_event_type",
            Self::NoShardKey => "no_shard_key",
            Self::Malformed => "malformed",
            Self::KeyConflict => "key_conflict",
            Self::OrderConflict => "order_conflict",
            Self::ShopClosed => "shop_closed",
            Self::UnknownPrice => "unknown_price",
            Self::InvalidPrice => "invalid_price",
            Self::InsufficientFunds => "insufficient_funds",
            Self::InsufficientStock => "insufficient_stock",
            Self::ReturnMismatch => "return_mismatch",
            Self::ReturnExceedsPurchase => "return_exceeds_purchase",
            Self::RefundExceedsPayment => "refund_exceeds_payment",
            Self::PurchaseRejected => "purchase_rejected",
            Self::OrphanReturn => "orphan_return",
            Self::NegativeStock => "negative_stock",
        }
    }

    /// The reason with this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A refusal: the reason and one sentence of what exactly is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The stable code.
    pub reason: Reason,
    /// What is wrong with this line.
    pub detail: String,
}

impl Reject {
    /// A refusal with its detail.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// The refusal of a last line without a line feed, whatever it says.
///
/// # Errors
/// [`Reason::NoFinalNewline`] if the line is not terminated.
pub fn require_line_feed(terminated: bool) -> Result<(), Reject> {
    if terminated {
        return Ok(());
    }
    Err(Reject::new(Reason::NoFinalNewline, "the last line has no line feed: the file may be cut short"))
}

/// Where a rejected line stood.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The 14-digit name of the event file.
    pub file: &'a str,
    /// The line's number in the event file, from 1.
    pub line: u64,
    /// The stage that refused it.
    pub stage: &'a str,
}

#[derive(Serialize)]
struct Head<'a> {
    file: &'a str,
    line: u64,
    stage: &'a str,
    reason: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a str>,
}

/// Writes one rejected line. Text is kept as `raw`; bytes that are no UTF-8 are kept as `raw_base64`.
///
/// # Errors
/// Whatever the writer fails with.
pub fn write_rejected(out: &mut impl Write, origin: Origin<'_>, reject: &Reject, raw: &[u8]) -> io::Result<()> {
    match std::str::from_utf8(raw) {
        Ok(text) => {
            write_head(out, origin, reject, Some(text))?;
            out.write_all(b"\n")
        }
        Err(_) => write_streamed(out, origin, reject, |sink| sink.write_all(raw)),
    }
}

/// Writes one rejected line whose bytes are too many to hold: `fill` streams them, they are kept as `raw_base64`.
///
/// # Errors
/// Whatever the writer or `fill` fails with.
pub fn write_streamed<W: Write>(
    out: &mut W,
    origin: Origin<'_>,
    reject: &Reject,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut head = Vec::new();
    write_head(&mut head, origin, reject, None)?;
    head.pop(); // The closing brace: one more field follows.
    out.write_all(&head)?;
    out.write_all(b",\"raw_base64\":\"")?;
    let mut encoder = EncoderWriter::new(&mut *out, &BASE64_STANDARD);
    fill(&mut encoder)?;
    encoder.finish()?;
    drop(encoder);
    out.write_all(b"\"}\n")
}

fn write_head(out: &mut impl Write, origin: Origin<'_>, reject: &Reject, raw: Option<&str>) -> io::Result<()> {
    let head = Head {
        file: origin.file,
        line: origin.line,
        stage: origin.stage,
        reason: reject.reason.code(),
        detail: &reject.detail,
        raw,
    };
    serde_json::to_writer(out, &head).map_err(io::Error::from)
}

/// How many lines were rejected for which reason, by the reasons' codes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reasons(BTreeMap<&'static str, u64>);

impl Reasons {
    /// Counts one line.
    pub fn add(&mut self, reason: Reason) {
        *self.0.entry(reason.code()).or_default() += 1;
    }

    /// The counts by code.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(code, lines)| (*code, *lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin<'_> = Origin { file: "20250101000000", line: 17, stage: "shard-splitter" };

    fn rejected(raw: &[u8]) -> serde_json::Value {
        let mut out = Vec::new();
        write_rejected(&mut out, ORIGIN, &Reject::new(Reason::BadJson, "no"), raw).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1, "one line, whatever the raw bytes are");
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_rejected_line_is_kept_whole() {
        let value = rejected(b"{\"a\":\x1f\"\\ \r");
        assert_eq!(value["raw"], "{\"a\":\x1f\"\\ \r");
        assert_eq!((value["line"].as_u64(), value["reason"].as_str()), (Some(17), Some("bad_json")));
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_too() {
        use base64::Engine;
        let value = rejected(b"\xff\x00\xfe{");
        assert_eq!(BASE64_STANDARD.decode(value["raw_base64"].as_str().unwrap()).unwrap(), b"\xff\x00\xfe{");
        assert_eq!(value["raw"], serde_json::Value::Null);
    }
}
