//! The ingest's HTTP calls: statistics and posted events (docs/contracts.md, 3).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{RequestExt, Router};
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::arrivals::Arrivals;
use super::tick::Ingest;
use crate::base::http::extract::body_problem;
use crate::base::http::{Permit, Policy, Principal, Problem};
use crate::base::shutdown::Stop;
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::Reason;
use crate::pipeline::files::artifact;
use crate::pipeline::files::folder::{Artifact, Folder};
use crate::pipeline::ingest::accept::{self, CheckedPost, Limits, PostRefusal, Refused};
use crate::pipeline::ingest::writer::Writer;
use crate::pipeline::settings::Context;
use crate::pipeline::settings::principal;
use crate::pipeline::task::FileName;

/// Bytes of all bodies that are being taken at the same time; a further body waits.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bodies of unknown size, packed or chunked, that are being taken at the same time.
const UNSIZED_BODIES_MAX: usize = 4;

/// Where events are posted.
const EVENTS: &str = "/api/v1/events";

/// Who may post events.
pub(crate) const POLICY: Policy = Policy {
    serves: &[principal::PRODUCER, Principal::OPERATOR],
    permit: |call| if call.route() == EVENTS { Permit::to(principal::PRODUCER) } else { Permit::OPERATOR },
    read: Policy::OPEN_READS,
    upgrade: Policy::NO_UPGRADE,
};

#[derive(Clone)]
struct Shared {
    writer: Writer,
    folder: Folder,
    last_tick: Arc<Mutex<Option<Timestamp>>>,
    limits: Limits,
    /// One permit per KiB of body.
    room: Arc<Semaphore>,
    /// How many of them there are.
    room_kib: usize,
    /// One permit per body of unknown size.
    unsized_room: Arc<Semaphore>,
    /// Held while a body is unpacked: the packed body and the plain one are both in memory then, of one body at a time.
    unpacking: Arc<Mutex<()>>,
    patience: Duration,
    stop: Stop,
    counted: Counted,
    arrivals: Arrivals,
}

/// Lines and bytes of files that were counted before: event files never change.
type Known = HashMap<FileName, (u64, u64)>;
/// One count at a time: a request that comes meanwhile waits, and finds the files counted.
type Counted = Arc<tokio::sync::Mutex<Known>>;

#[derive(Serialize)]
struct Accepted {
    accepted: u64,
    rejected: Vec<Refused>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_count: Option<u64>,
}

#[derive(Debug, Serialize, Default)]
struct Stats {
    files: u64,
    events: u64,
    bytes: u64,
    newest_file: Option<String>,
    last_tick: Option<String>,
}

/// The routes of a running ingest.
pub(crate) fn routes(ctx: &Context, ingest: &Ingest) -> Router {
    let events = &ctx.settings.events;
    let room_kib = BODIES_BYTES_MAX.max(events.max_body_size).div_ceil(1024);
    let shared = Shared {
        writer: ingest.writer(),
        folder: Folder::new(&ctx.settings.shared.dir),
        last_tick: ingest.last_tick(),
        limits: Limits {
            line_bytes_max: events.max_payload_size,
            body_bytes_max: events.max_body_size,
            time_max: events.validation_timeout,
        },
        room: Arc::new(Semaphore::new(room_kib)),
        room_kib,
        unsized_room: Arc::new(Semaphore::new(UNSIZED_BODIES_MAX)),
        unpacking: Arc::default(),
        patience: ctx.settings.server.read_timeout,
        stop: ctx.stop.clone(),
        counted: Arc::default(),
        arrivals: ingest.arrivals(),
    };
    Router::new().route(EVENTS, post(post_events)).route("/api/v1/events/stats", get(stats)).with_state(shared)
}

/// Takes events; answers when they are durable. Their room is theirs as long as they are in memory, also when the caller
/// has left.
async fn post_events(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    if shared.stop.is_requested() {
        return Err(Problem::unavailable("this instance stops; post to another one or try again"));
    }
    let room = make_room(&shared, request.headers()).await?;
    let headers = request.headers().clone();
    let body = read_body(request).await?;
    let (limits, unpacking) = (shared.limits, Arc::clone(&shared.unpacking));
    let check = move || (check_body(body, &headers, limits, &unpacking), room);
    let ended = |e| Problem::internal().because(format!("checking a body ended abnormally: {e}"));
    let (checked, room) = tokio::task::spawn_blocking(check).await.map_err(ended)?;
    let mut checked = checked.inspect_err(|problem| shared.count_refused(problem))?;
    let lines = std::mem::take(&mut checked.lines);
    let bytes = lines.len() as u64;
    if checked.accepted > 0 {
        shared.writer.append(lines, Some(room)).await.map_err(not_durable)?;
    }
    shared.arrivals.posted(&checked, bytes);
    let rejected_count = (checked.rejected_count > checked.rejected.len() as u64).then_some(checked.rejected_count);
    let status = status(checked.accepted, checked.rejected_count);
    let answer = Accepted { accepted: checked.accepted, rejected: checked.rejected, rejected_count };
    Ok((status, axum::Json(answer)).into_response())
}

/// A body of which everything was refused is an error for clients that look at the status alone. An empty one asked for
/// nothing and got it.
fn status(accepted: u64, rejected: u64) -> StatusCode {
    if accepted == 0 && rejected > 0 { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::ACCEPTED }
}

impl Shared {
    /// A single event that was refused has the reason as its problem's code.
    fn count_refused(&self, problem: &Problem) {
        if let Some(reason) = Reason::from_code(problem.code) {
            self.arrivals.refused(reason.code());
        }
    }
}

/// Waits until there is room for a body. One that does not say its size may be as large as allowed: those have a place
/// of their own, so that a few of them, sent slowly, do not keep out all other clients.
async fn make_room(shared: &Shared, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, Problem> {
    let (room, permits) = match plain_bytes(headers) {
        // What is over the limit is refused before it is read.
        Some(bytes) => (&shared.room, bytes.div_ceil(1024).clamp(1, shared.room_kib)),
        None => (&shared.unsized_room, 1),
    };
    let permits = u32::try_from(permits).unwrap_or(u32::MAX);
    let room = tokio::time::timeout(shared.patience, Arc::clone(room).acquire_many_owned(permits));
    match room.await {
        Ok(Ok(room)) => Ok(room),
        _ => Err(Problem::unavailable("too many bodies are being taken; try again")),
    }
}

/// Reads a whole body into one piece of memory, however small the pieces are that it comes in.
async fn read_body(request: Request) -> Result<Vec<u8>, Problem> {
    // One more for the line feed of a last line that has none.
    let mut body = Vec::with_capacity(said_bytes(request.headers()).map_or(0, |bytes| bytes.saturating_add(1)));
    let mut frames = request.into_limited_body();
    while let Some(frame) = frames.frame().await {
        if let Ok(data) = frame.map_err(|fault| body_problem(&fault))?.into_data() {
            body.extend_from_slice(&data);
        }
    }
    Ok(body)
}

/// Unpacks a body if need be and checks what is in it, in the memory that it has.
fn check_body(
    body: Vec<u8>,
    headers: &HeaderMap,
    limits: Limits,
    unpacking: &Mutex<()>,
) -> Result<CheckedPost, Problem> {
    let packed = headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes().to_ascii_lowercase());
    let plain = match packed.as_deref() {
        None | Some(b"identity" | b"") => body,
        Some(b"gzip") => {
            let _one_at_a_time = unpacking.lock().unwrap_or_else(PoisonError::into_inner);
            let plain = accept::unpack(&body, limits).map_err(refused)?;
            drop(body);
            plain
        }
        Some(_) => return Err(unsupported()),
    };
    if is_many(headers) {
        return accept::check_lines(plain, limits).map_err(refused);
    }
    accept::check_one(plain, limits)
        .map(|line| CheckedPost { lines: line, accepted: 1, ..CheckedPost::default() })
        .map_err(|reject| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reject.reason.code(), reject.detail))
}

/// One JSON event only if the client says so; everything else is lines.
fn is_many(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    !kind.trim_start().to_ascii_lowercase().starts_with("application/json")
}

/// The size of a plain body; nothing if it is packed or does not say.
fn plain_bytes(headers: &HeaderMap) -> Option<usize> {
    if headers.contains_key(CONTENT_ENCODING) { None } else { said_bytes(headers) }
}

/// How many bytes come, if the request says so.
fn said_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn unsupported() -> Problem {
    let detail = "the content encoding must be gzip or none";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", detail)
}

fn refused(refusal: PostRefusal) -> Problem {
    match refusal {
        PostRefusal::TooLarge(_) => Problem { detail: refusal.to_string(), ..Problem::too_large() },
        PostRefusal::BadGzip(_) => Problem::new(StatusCode::BAD_REQUEST, "bad_gzip", refusal.to_string()),
        PostRefusal::TooSlow(_) => Problem::unavailable(refusal.to_string()),
    }
}

fn not_durable(error: std::io::Error) -> Problem {
    let cause = format!("posted events could not be made durable: {error}");
    if error.kind() == std::io::ErrorKind::StorageFull {
        let detail = "the disk is full; nothing of this body counts as taken: post it again when there is room";
        return Problem::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", detail).because(cause);
    }
    let detail = "the events could not be made durable; nothing of this body counts as taken: post it again";
    Problem::unavailable(detail).because(cause)
}

/// Statistics of the files in the folder.
async fn stats(State(shared): State<Shared>) -> Result<axum::Json<impl Serialize>, Problem> {
    let last_tick = shared.last_tick.lock().unwrap_or_else(PoisonError::into_inner).map(Timestamp::rfc3339);
    // It goes along: a caller that leaves does not make way for a second count beside the first.
    let mut known = shared.counted.lock_owned().await;
    let counted = tokio::task::spawn_blocking(move || count(&shared.folder, &mut known, &shared.stop)).await;
    match counted {
        Ok(Ok(Some(stats))) => Ok(axum::Json(Stats { last_tick, ..stats })),
        Ok(Ok(None)) => Err(Problem::unavailable("this instance stops; ask another one or try again")),
        other => {
            let cause = format!("the event files cannot be counted: {other:?}");
            Err(Problem::unavailable("the folder of the event files cannot be read").because(cause))
        }
    }
}

/// Nothing if a stop was asked for meanwhile.
fn count(folder: &Folder, known: &mut Known, stop: &Stop) -> std::io::Result<Option<Stats>> {
    let mut now = Known::new();
    let mut stats = Stats::default();
    for name in artifact::list(&folder.events())? {
        let Some(events @ Artifact::Events(_)) = Artifact::from_file_name(&name) else {
            continue;
        };
        if stop.is_requested() {
            return Ok(None);
        }
        let file = events.file().clone();
        let (lines, bytes) = match known.get(&file) {
            Some(counted) => *counted,
            None => match artifact::open(&folder.path_of(&events)).and_then(|mut file| artifact::digest(&mut file)) {
                Ok(output) => (output.lines, output.bytes),
                // It was cleared since the folder was listed, or is none of ours.
                Err(e) => {
                    log::warn!(file = name.as_str(); "not counted: {e}");
                    continue;
                }
            },
        };
        now.insert(file, (lines, bytes));
        stats.files += 1;
        stats.events += lines;
        stats.bytes += bytes;
        stats.newest_file = Some(name);
    }
    *known = now;
    Ok(Some(stats))
}
