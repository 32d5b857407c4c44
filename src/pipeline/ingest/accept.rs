//! Checks posted events line by line before anything is acknowledged (contracts 3).

use std::io::{self, Read};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use serde::Serialize;
use utoipa::ToSchema;

use crate::event::raw::{RawEvent, RawPayload};
use crate::event::{Event, LineReader, Next, Reason, Reject, ShardCount};
use crate::pipeline::split::route;

/// Refused lines that are answered one by one; more are only counted.
const REFUSED_MAX: usize = 1000;

/// What of a body was taken.
#[derive(Debug, Default)]
pub struct Checked {
    /// The accepted lines, each with its line feed, byte for byte as posted.
    pub lines: Vec<u8>,
    /// How many they are.
    pub accepted: u64,
    /// The refused ones.
    pub rejected: Vec<Refused>,
    /// How many were refused.
    pub rejected_count: u64,
}

/// A line that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Refused {
    /// Its number in the body, from 1.
    pub line: u64,
    /// The stable code of the reason.
    #[schema(example = "malformed")]
    pub reason: &'static str,
    /// What is wrong.
    #[schema(example = "qty is missing")]
    pub detail: String,
}

/// The limits of a body.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one line.
    pub line_bytes_max: usize,
    /// Bytes of the body after unpacking.
    pub body_bytes_max: usize,
    /// How long checking may take.
    pub time_max: Duration,
}

/// Why a whole body was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is too large once it is unpacked.
    #[error("the body has more than {0} bytes after unpacking; send it in parts")]
    TooLarge(usize),
    /// It is no gzip although it says so.
    #[error("the body cannot be unpacked: {0}")]
    BadGzip(io::Error),
    /// Checking took too long.
    #[error("checking the body took longer than {0:?}; send it in parts")]
    TooSlow(Duration),
}

/// Unpacks a gzip body within the limit.
///
/// # Errors
/// [`Refusal`] if it is no gzip or too large.
pub fn unpack(body: &[u8], limits: Limits) -> Result<Vec<u8>, Refusal> {
    let mut plain = Vec::new();
    let limit = limits.body_bytes_max as u64;
    MultiGzDecoder::new(body).take(limit + 1).read_to_end(&mut plain).map_err(Refusal::BadGzip)?;
    if plain.len() > limits.body_bytes_max { Err(Refusal::TooLarge(limits.body_bytes_max)) } else { Ok(plain) }
}

/// Checks a body of many events, one a line. Empty lines are passed over; the last line needs no line feed.
///
/// # Errors
/// [`Refusal`] if checking takes too long.
pub fn check_lines(body: &[u8], limits: Limits) -> Result<Checked, Refusal> {
    let began = Instant::now();
    let mut checked = Checked::default();
    let mut lines = LineReader::new(body, limits.line_bytes_max);
    // Reading from memory cannot fail.
    while let Ok(Some(next)) = lines.next_line() {
        match next {
            Next::Line { bytes, .. } if bytes.trim_ascii().is_empty() => {}
            Next::Line { number, bytes, .. } => checked.note(number, bytes, check(bytes)),
            Next::TooLong { number } => checked.note(number, &[], Err(too_long(limits))),
        }
        if began.elapsed() > limits.time_max {
            return Err(Refusal::TooSlow(limits.time_max));
        }
    }
    Ok(checked)
}

/// Checks a body of one event, which may be spread over several lines; answers it as one line.
///
/// # Errors
/// The [`Reject`] of the event.
pub fn check_one(body: &[u8], limits: Limits) -> Result<Vec<u8>, Reject> {
    // As it was posted, before any white space is taken out: `1 0` must not become 10.
    RawEvent::<RawPayload<'_>>::parse(body.trim_ascii())?;
    let mut line = one_line(body);
    if line.len() > limits.line_bytes_max {
        return Err(too_long(limits));
    }
    check(&line)?;
    line.push(b'\n');
    Ok(line)
}

impl Checked {
    fn note(&mut self, number: u64, line: &[u8], result: Result<(), Reject>) {
        match result {
            Ok(()) => {
                self.accepted += 1;
                self.lines.extend_from_slice(line);
                self.lines.push(b'\n');
            }
            Err(reject) => {
                self.rejected_count += 1;
                if self.rejected.len() < REFUSED_MAX {
                    self.rejected.push(Refused { line: number, reason: reject.reason.code(), detail: reject.detail });
                }
            }
        }
    }
}

/// What splitter and worker would refuse for its shape is refused here already.
fn check(line: &[u8]) -> Result<(), Reject> {
    Event::parse(line)?;
    let any = ShardCount::new(1).ok_or_else(|| Reject::new(Reason::NoShardKey, "no shards"))?;
    route(line, true, any).map(|_| ())
}

fn too_long(limits: Limits) -> Reject {
    Reject::new(Reason::TooLong, format!("the line has more than {} bytes", limits.line_bytes_max))
}

/// The same JSON without white space between its tokens.
fn one_line(body: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(body.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in body {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            line.push(*byte);
        } else if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            in_string = *byte == b'"';
            line.push(*byte);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { line_bytes_max: 200, body_bytes_max: 1000, time_max: Duration::from_secs(5) };
    const GOOD: &str =
        r#"{"event_type":4,"payload":{"shop_id":1,"active":true},"timestamp":"2025-01-01 00:00:00.000"}"#;

    #[test]
    fn good_lines_around_a_bad_one_are_taken_as_they_are() {
        let long = format!("{{\"x\":\"{}\"}}", "y".repeat(300));
        let body = format!("{GOOD}\n\nnonsense\n{long}\n  {GOOD}");
        let checked = check_lines(body.as_bytes(), LIMITS).unwrap();
        assert_eq!((checked.accepted, checked.rejected_count), (2, 2));
        assert_eq!(String::from_utf8(checked.lines).unwrap(), format!("{GOOD}\n  {GOOD}\n"));
        assert_eq!(
            checked.rejected.iter().map(|r| (r.line, r.reason)).collect::<Vec<_>>(),
            [(3, "bad_json"), (4, "too_long")]
        );
    }

    #[test]
    fn one_event_may_be_spread_over_lines() {
        let spread = GOOD.replace(",\"", ",\r\n\t \"");
        assert_eq!(check_one(spread.as_bytes(), LIMITS).unwrap(), format!("{GOOD}\n").as_bytes());
        assert_eq!(one_line(br#" { "a b" : "c \" d\\" , "e" : [ 1 ] } "#), br#"{"a b":"c \" d\\","e":[1]}"#);
        assert!(check_one(b"[]", LIMITS).is_err());
        assert!(check_one(GOOD.replace(":1,", ":1 0,").as_bytes(), LIMITS).is_err(), "two numbers are not one");
        assert!(check_one(GOOD.replace(":1,", ":1\x0c,").as_bytes(), LIMITS).is_err(), "a form feed is no white space");
    }

    #[test]
    fn a_gzip_bomb_stops_at_the_limit() {
        use std::io::Write;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&vec![b' '; 10_000_000]).unwrap();
        let packed = packed.finish().unwrap();
        assert!(matches!(unpack(&packed, LIMITS), Err(Refusal::TooLarge(1000))));
        assert!(matches!(unpack(b"no gzip", LIMITS), Err(Refusal::BadGzip(_))));
    }
}
