//! Checks posted events line by line before anything is acknowledged (docs/contracts.md, 3).

use std::io::{self, Read};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use serde::Serialize;
use utoipa::ToSchema;

use crate::pipeline::event::raw::{RawEvent, RawPayload};
use crate::pipeline::event::{Event, Reason, Reasons, Reject, shape};

/// Refused lines that are answered one by one; more are only counted.
const REFUSED_MAX: usize = 1000;

/// What of a body was taken.
#[derive(Debug, Default)]
pub struct CheckedPost {
    /// The accepted lines, each with its line feed, byte for byte as posted; in the memory of the body.
    pub lines: Vec<u8>,
    /// How many they are.
    pub accepted: u64,
    /// The refused ones.
    pub rejected: Vec<Refused>,
    /// How many were refused.
    pub rejected_count: u64,
    /// For which reasons.
    pub reasons: Reasons,
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
pub enum PostRefusal {
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

/// Unpacks a gzip body within the limit; both of them are held meanwhile.
///
/// # Errors
/// [`PostRefusal`] if it is no gzip or too large.
pub fn unpack(body: &[u8], limits: Limits) -> Result<Vec<u8>, PostRefusal> {
    let mut plain = Vec::new();
    let limit = limits.body_bytes_max as u64;
    MultiGzDecoder::new(body).take(limit + 1).read_to_end(&mut plain).map_err(PostRefusal::BadGzip)?;
    if plain.len() > limits.body_bytes_max { Err(PostRefusal::TooLarge(limits.body_bytes_max)) } else { Ok(plain) }
}

/// Checks a body of many events, one a line. Empty lines are passed over; the last line needs no line feed. What is
/// accepted stays in the memory of the body.
///
/// # Errors
/// [`PostRefusal`] if checking takes too long.
pub fn check_lines(mut body: Vec<u8>, limits: Limits) -> Result<CheckedPost, PostRefusal> {
    let began = Instant::now();
    let mut checked = CheckedPost::default();
    // The accepted lines move to the front, over those that are not: the first so many bytes are accepted.
    let (mut kept, mut next, mut number) = (0, 0, 0);
    while next < body.len() {
        let (start, end) = (next, memchr::memchr(b'\n', &body[next..]).map_or(body.len(), |at| next + at));
        (next, number) = (end + 1, number + 1);
        let line = &body[start..end];
        let is_long = line.len() > limits.line_bytes_max;
        if is_long || !line.trim_ascii().is_empty() {
            let result = if is_long { Err(too_long(limits)) } else { check(line) };
            if checked.note(number, result) {
                body.copy_within(start..end, kept);
                kept += end - start;
                if kept == body.len() {
                    body.reserve_exact(1);
                    body.push(b'\n');
                } else {
                    body[kept] = b'\n';
                }
                kept += 1;
            }
        }
        if began.elapsed() > limits.time_max {
            return Err(PostRefusal::TooSlow(limits.time_max));
        }
    }
    body.truncate(kept);
    checked.lines = body;
    Ok(checked)
}

/// Checks a body of one event, which may be spread over several lines; answers it as one line.
///
/// # Errors
/// The [`Reject`] of the event.
pub fn check_one(mut body: Vec<u8>, limits: Limits) -> Result<Vec<u8>, Reject> {
    // As it was posted, before any white space is taken out: `1 0` must not become 10.
    let posted = RawEvent::<RawPayload<'_>>::parse(body.trim_ascii())?;
    if Tokens::default().count(&body) > limits.line_bytes_max {
        return Err(too_long(limits));
    }
    shape::check(posted)?;
    make_one_line(&mut body);
    body.push(b'\n');
    Ok(body)
}

impl CheckedPost {
    /// Counts a line; answers whether it is accepted.
    fn note(&mut self, number: u64, result: Result<(), Reject>) -> bool {
        match result {
            Ok(()) => {
                self.accepted += 1;
                true
            }
            Err(reject) => {
                self.rejected_count += 1;
                self.reasons.add(reject.reason);
                if self.rejected.len() < REFUSED_MAX {
                    self.rejected.push(Refused { line: number, reason: reject.reason.code(), detail: reject.detail });
                }
                false
            }
        }
    }
}

/// What splitter and worker would refuse for its shape is refused here already: an event whose shape is right has a shard.
///
/// # Errors
/// The [`Reject`] of the line.
pub fn check(line: &[u8]) -> Result<(), Reject> {
    Event::parse(line).map(drop)
}

fn too_long(limits: Limits) -> Reject {
    Reject::new(Reason::TooLong, format!("the line has more than {} bytes", limits.line_bytes_max))
}

/// The same JSON without white space between its tokens.
fn make_one_line(body: &mut Vec<u8>) {
    let mut tokens = Tokens::default();
    body.retain(|byte| tokens.keep(*byte));
}

/// Tells the bytes of tokens from the white space between them.
#[derive(Default)]
struct Tokens {
    in_string: bool,
    escaped: bool,
}

impl Tokens {
    /// Whether the next byte belongs to a token.
    fn keep(&mut self, byte: u8) -> bool {
        if self.in_string {
            self.in_string = self.escaped || byte != b'"';
            self.escaped = !self.escaped && byte == b'\\';
            return true;
        }
        self.in_string = byte == b'"';
        !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
    }

    /// How many bytes of a text belong to tokens.
    fn count(mut self, text: &[u8]) -> usize {
        text.iter().filter(|byte| self.keep(**byte)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::event::ShardCount;

    const LIMITS: Limits = Limits { line_bytes_max: 200, body_bytes_max: 1000, time_max: Duration::from_secs(5) };
    const GOOD: &str =
        r#"{"event_type":4,"payload":{"shop_id":1,"active":true},"timestamp":"2025-01-01 00:00:00.000"}"#;

    #[test]
    fn good_lines_around_a_bad_one_are_taken_as_they_are() {
        let long = format!("{{\"x\":\"{}\"}}", "y".repeat(300));
        let body = format!("{GOOD}\n\nnonsense\n{long}\n  {GOOD}");
        let checked = check_lines(body.into_bytes(), LIMITS).unwrap();
        assert_eq!((checked.accepted, checked.rejected_count), (2, 2));
        assert_eq!(checked.reasons.iter().collect::<Vec<_>>(), [("bad_json", 1), ("too_long", 1)]);
        assert_eq!(String::from_utf8(checked.lines).unwrap(), format!("{GOOD}\n  {GOOD}\n"));
        assert_eq!(
            checked.rejected.iter().map(|r| (r.line, r.reason)).collect::<Vec<_>>(),
            [(3, "bad_json"), (4, "too_long")]
        );
    }

    #[test]
    fn what_is_accepted_takes_no_memory_beside_the_body() {
        let mut body = Vec::with_capacity(LIMITS.body_bytes_max);
        body.extend_from_slice(format!("\nnonsense\n{GOOD}\n \r\n{GOOD}\nx\n{GOOD}").as_bytes());
        let (begins, room) = (body.as_ptr(), body.capacity());
        let checked = check_lines(body, LIMITS).unwrap();
        assert_eq!(checked.lines, format!("{GOOD}\n").repeat(3).as_bytes());
        assert_eq!((checked.lines.as_ptr(), checked.lines.capacity()), (begins, room));
        assert_eq!(checked.rejected.iter().map(|refused| refused.line).collect::<Vec<_>>(), [2, 6]);
    }

    #[test]
    fn a_body_without_room_for_the_last_line_feed_gets_it() {
        let whole = GOOD.as_bytes().to_vec().into_boxed_slice().into_vec();
        assert_eq!(check_lines(whole, LIMITS).unwrap().lines, format!("{GOOD}\n").into_bytes());
        assert!(check_lines(Vec::new(), LIMITS).unwrap().lines.is_empty());
    }

    #[test]
    fn one_event_may_be_spread_over_lines() {
        let spread = GOOD.replace(",\"", ",\r\n\t \"");
        assert_eq!(check_one(spread.into_bytes(), LIMITS).unwrap(), format!("{GOOD}\n").as_bytes());
        let mut line = br#" { "a b" : "c \" d\\" , "e" : [ 1 ] } "#.to_vec();
        make_one_line(&mut line);
        assert_eq!(line, br#"{"a b":"c \" d\\","e":[1]}"#);
        assert!(check_one(b"[]".to_vec(), LIMITS).is_err());
        let refuses = |from: &str, to: &str| check_one(GOOD.replace(from, to).into_bytes(), LIMITS).is_err();
        assert!(refuses(":1,", ":1 0,"), "two numbers are not one");
        assert!(refuses(":1,", ":1\x0c,"), "a form feed is no white space");
    }

    /// A line with fields that its kind does not use, nested more or less deep.
    fn nested(depth: usize) -> String {
        let more = format!(r#""active":true,"qty":{}{}"#, "[".repeat(depth), "]".repeat(depth));
        GOOD.replace(r#""active":true"#, &more)
    }

    #[test]
    fn what_is_taken_has_a_shard() {
        let route = |line: &str| crate::pipeline::split::route(line.as_bytes(), true, ShardCount::new(2).unwrap());
        for depth in 1..140 {
            let line = nested(depth);
            assert_eq!(check(line.as_bytes()).is_ok(), route(&line).is_ok(), "{depth}");
        }
        assert!(check(nested(1).as_bytes()).is_ok() && check(nested(126).as_bytes()).is_err());
        assert_eq!(
            check_one(nested(126).into_bytes(), Limits { line_bytes_max: 9000, ..LIMITS }).unwrap_err().reason,
            Reason::BadJson
        );
    }

    #[test]
    fn a_gzip_bomb_stops_at_the_limit() {
        use std::io::Write;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&vec![b' '; 10_000_000]).unwrap();
        let packed = packed.finish().unwrap();
        assert!(matches!(unpack(&packed, LIMITS), Err(PostRefusal::TooLarge(1000))));
        assert!(matches!(unpack(b"no gzip", LIMITS), Err(PostRefusal::BadGzip(_))));
    }
}
