//! Bodies that strangers send: to the stage-status API, from it to its client, and posted events, packed or not.
//! The first byte chooses which.

use std::fmt::Debug;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shopctl::pipeline::event::{Event, Reason, ShardCount};
use shopctl::pipeline::ingest::accept::{self, CheckedPost, Limits};
use shopctl::pipeline::split;
use shopctl::pipeline::task::Ledger;
use shopctl::pipeline::task::wire::{
    ClaimRequest, ClaimResponse, FileResponse, FilesResponse, HeartbeatResponse, IngestDoneRequest, IngestDoneResponse,
    QueueResponse, RegisterRequest, RegisterResponse, SummaryResponse, TaskRequest, TaskResponse,
};

/// Small, so that all of them are met; the time is never over, or slow machines would find faults.
const LIMITS: Limits = Limits { line_bytes_max: 2048, body_bytes_max: 65_536, time_max: Duration::from_secs(3600) };

/// Runs one input.
pub(super) fn run(data: &[u8]) {
    let Some((which, body)) = data.split_first() else {
        return;
    };
    match which {
        b'a' => json::<RegisterRequest>(body),
        b'b' => json::<RegisterResponse>(body),
        b'c' => json::<IngestDoneRequest>(body),
        b'd' => json::<IngestDoneResponse>(body),
        b'e' => json::<TaskRequest>(body),
        b'f' => json::<TaskResponse>(body),
        b'g' => json::<ClaimRequest>(body),
        b'h' => claimed(body),
        b'i' => json::<HeartbeatResponse>(body),
        b'j' => json::<QueueResponse>(body),
        b'k' => json::<FileResponse>(body),
        b'l' => json::<FilesResponse>(body),
        b'm' => json::<SummaryResponse>(body),
        b'n' => json::<Ledger>(body),
        b'o' => lines(body),
        b'p' => one(body),
        b'q' => packed(body),
        b'r' => packed(&pack(body)),
        _ => {}
    }
}

/// What is understood is written and understood again as the same.
fn json<T: Serialize + DeserializeOwned + Debug>(body: &[u8]) {
    match serde_json::from_slice::<T>(body) {
        Ok(value) => {
            let text = serde_json::to_vec(&value).expect("a body can be written");
            let again: T = serde_json::from_slice(&text).expect("what was written can be read");
            assert_eq!(format!("{value:?}"), format!("{again:?}"));
        }
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
}

/// What the client makes of an answer to its claim: names become paths, numbers of shards become loops.
fn claimed(body: &[u8]) {
    json::<ClaimResponse>(body);
    let Ok(response) = serde_json::from_slice::<ClaimResponse>(body) else {
        return;
    };
    for claimed in response.items.into_iter().filter_map(shopctl::pipeline::task::wire::ClaimedItem::into_claimed) {
        assert!(claimed.key.file.as_str().bytes().all(|byte| byte.is_ascii_digit()));
        assert!(claimed.key.shard.get() <= 127 && (1..=128).contains(&claimed.shards_count.get()));
    }
}

fn lines(body: &[u8]) {
    let checked = accept::check_lines(body.to_vec(), LIMITS).expect("there is time enough");
    sound(&checked);
    let empty = body.split(|byte| *byte == b'\n').filter(|line| line.trim_ascii().is_empty()).count() as u64;
    let all = body.split(|byte| *byte == b'\n').count() as u64;
    assert!(checked.accepted + checked.rejected_count + empty >= all, "a line is neither taken nor refused");
    assert!(checked.accepted + checked.rejected_count <= all, "a line was counted twice");
}

/// Every line that was taken would pass splitter and worker; every refused one has a reason of the closed list.
fn sound(checked: &CheckedPost) {
    let taken: Vec<&[u8]> = checked.lines.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(taken.len() as u64, checked.accepted);
    for line in taken {
        let line = line.strip_suffix(b"\n").expect("a taken line has a line feed");
        assert!(line.len() <= LIMITS.line_bytes_max);
        Event::parse(line).expect("a taken line is an event");
        split::route(line, true, ShardCount::new(2).expect("2 is a count")).expect("a taken line has a shard");
    }
    for refused in &checked.rejected {
        assert!(Reason::ALL.iter().any(|reason| reason.code() == refused.reason), "{}", refused.reason);
        assert!(refused.line > 0 && !refused.detail.is_empty());
    }
    assert!(checked.rejected.len() as u64 <= checked.rejected_count && checked.rejected.len() <= 1000);
}

/// One event may be spread over lines; what is kept says the same in one line.
fn one(body: &[u8]) {
    let Ok(line) = accept::check_one(body.to_vec(), LIMITS) else {
        return;
    };
    let line = line.strip_suffix(b"\n").expect("a taken line has a line feed");
    assert!(!line.contains(&b'\n') && line.len() <= LIMITS.line_bytes_max);
    let kept = Event::parse(line).expect("a taken line is an event");
    let posted = Event::parse(body.trim_ascii()).expect("what was taken is an event as it was posted");
    assert_eq!(kept.payload, posted.payload);
    assert_eq!((kept.at, kept.idempotency_key), (posted.at, posted.idempotency_key));
}

fn packed(body: &[u8]) {
    if let Ok(plain) = accept::unpack(body, LIMITS) {
        assert!(plain.len() <= LIMITS.body_bytes_max, "more than allowed was unpacked");
        lines(&plain);
    }
}

fn pack(body: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(body).expect("writing to memory cannot fail");
    packed.finish().expect("writing to memory cannot fail")
}
