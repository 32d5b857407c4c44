//! Asks roles how they are, all at the same time. Blocking: call it from blocking threads only.

use std::time::Duration;

use serde::Serialize;
use ureq::unversioned::transport::DefaultConnector;

use crate::base::http::resolver::AddressesFirst;
use crate::base::log_format::clean;
use crate::pipeline::addresses::{self, Noted};
use crate::pipeline::task::Repair;

/// The longest that an answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;
/// Roles that are asked at the same time.
const AT_ONCE: usize = 16;

/// Where a role may listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The role, with its shard where it has one.
    pub role: String,
    /// Its base URL.
    pub base: String,
    /// Whether it must be there: settings or the role itself name the place. Else it may run elsewhere.
    pub is_named: bool,
    /// The note of the place, if the process that wrote it has ended.
    pub ended: Option<Noted>,
}

/// How a role is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleState {
    /// It can do its work.
    Ready,
    /// It answers that it cannot do its work.
    NotReady,
    /// It is there and does not answer.
    Silent,
    /// It is not there.
    Absent,
}

/// How a role is that was asked.
#[derive(Debug, Clone, Serialize)]
pub struct Probed {
    /// The role, with its shard where it has one.
    pub role: String,
    /// Where it was asked.
    pub url: String,
    /// How it is.
    pub state: RoleState,
    /// What it says, or why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do about it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
    /// Whether it must be there.
    #[serde(skip)]
    pub is_named: bool,
}

/// What a role is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Whether it lives.
    Health,
    /// Whether it can do its work.
    Ready,
}

impl Probe {
    /// Where a role answers that.
    pub fn url(self, base: &str) -> String {
        let path = match self {
            Self::Health => "health",
            Self::Ready => "ready",
        };
        format!("{base}/{path}")
    }
}

/// What came back from a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// How the role is; ready stands for well where that was asked.
    pub state: RoleState,
    /// The status of the response, if there was one.
    pub status: Option<u16>,
    /// What it says, or why there is no answer; safe for a terminal.
    pub detail: Option<String>,
}

/// An RFC 9457 document, as far as it is used.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct ProbeProblem {
    detail: String,
}

impl Probed {
    /// What is wrong, in one sentence; nothing where nothing is.
    pub fn problem(&self) -> Option<String> {
        let Self { role, url, detail, .. } = self;
        let detail = detail.as_deref().unwrap_or("it says no more");
        match self.state {
            RoleState::Ready => None,
            RoleState::NotReady => Some(format!("{role} at {url} is not ready: {detail}")),
            RoleState::Silent => Some(format!("{role} at {url} accepts connections and does not answer: {detail}")),
            RoleState::Absent => Some(format!("{role} at {url} does not answer: {detail}")),
        }
    }
}

/// Asks all of them for `/ready`. Those that are not there are left out, unless they must be.
pub fn ask_all(places: &[Place]) -> Vec<Probed> {
    let mut probed = Vec::new();
    for places in places.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let asking: Vec<_> = places.iter().map(|place| scope.spawn(move || ask(place))).collect();
            for (asked, place) in asking.into_iter().zip(places) {
                // A thread that panicked has told so.
                probed.extend(asked.join().ok().filter(|found| place.is_named || found.state != RoleState::Absent));
            }
        });
    }
    probed
}

fn ask(place: &Place) -> Probed {
    // Something else may have the port by now. What answers as itself is there: containers see other processes.
    match place.ended.as_ref().map(|noted| addresses::verify(noted, TIMEOUT)) {
        Some(Err(why)) => Probed {
            role: place.role.clone(),
            url: place.base.clone(),
            state: RoleState::Absent,
            detail: Some(why),
            repair: None,
            is_named: place.is_named,
        },
        Some(Ok(())) | None => ask_ready(place),
    }
}

fn ask_ready(place: &Place) -> Probed {
    let ProbeAnswer { state, status, detail } = ask_at(&place.base, Probe::Ready, TIMEOUT);
    let no_detail = || status.filter(|_| state == RoleState::NotReady).map(|status| format!("status {status}"));
    let detail = detail.or_else(no_detail);
    let repair = detail.as_deref().filter(|_| state == RoleState::NotReady).and_then(Repair::of_condition);
    Probed { role: place.role.clone(), url: place.base.clone(), state, detail, repair, is_named: place.is_named }
}

/// Asks the role at this base URL, and waits so long at the most.
pub fn ask_at(base: &str, probe: Probe, timeout: Duration) -> ProbeAnswer {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .proxy(None)
        .build();
    let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), AddressesFirst::default());
    let mut response = match agent.get(probe.url(base)).call() {
        Ok(response) => response,
        Err(e) => {
            return ProbeAnswer { state: state_of(&e), status: None, detail: Some(clean(&e.to_string())) };
        }
    };
    let status = Some(response.status().as_u16());
    if response.status().is_success() {
        return ProbeAnswer { state: RoleState::Ready, status, detail: None };
    }
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    let ProbeProblem { detail } = body.read_json().unwrap_or_default();
    ProbeAnswer { state: RoleState::NotReady, status, detail: Some(clean(&detail)).filter(|detail| !detail.is_empty()) }
}

/// A process that stands still has its connections accepted by the system.
fn state_of(error: &ureq::Error) -> RoleState {
    match error {
        ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => RoleState::Absent,
        ureq::Error::Timeout(_) => RoleState::Silent,
        _ => RoleState::Absent,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn place(port: u16, is_named: bool) -> Place {
        Place { role: "role".to_owned(), base: format!("http://127.0.0.1:{port}"), is_named, ended: None }
    }

    #[test]
    fn a_role_that_is_not_there_is_told_from_one_that_stands_still() {
        // Connections are not accepted here, as with a process that stands still.
        let still = TcpListener::bind("127.0.0.1:0").unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let still = still.local_addr().map(|addr| (still, addr.port())).unwrap();
        let probed = ask_all(&[place(still.1, false), place(free, false), place(free, true)]);
        let states: Vec<RoleState> = probed.iter().map(|probed| probed.state).collect();
        assert_eq!(states, [RoleState::Silent, RoleState::Absent], "{probed:?}");
    }
}
