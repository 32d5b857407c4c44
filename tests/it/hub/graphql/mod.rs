//! GraphQL against the real program: the same verdicts as REST, limits, rights, and subscriptions over both transports.

mod doors;
mod limits;
mod rights;
mod socket;
mod sse;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::api::process::{Answer, call};
use crate::support::process::Process;

const JSON: (&str, &str) = ("content-type", "application/json");
/// 2024-01-15T10:30:00Z, long before any clock of a test.
const AT: &str = "2024-01-15T10:30:00Z";

/// A hub in a process and a folder of its own.
struct Hub {
    process: Process,
    addr: SocketAddr,
    folder: tempfile::TempDir,
}

impl Hub {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// With these settings.
    fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = spawn(folder.path(), "hub", settings);
        let addr = SocketAddr::from(([127, 0, 0, 1], process.wait_ready()));
        Self { process, addr, folder }
    }

    /// A hub that knows a token of each principal.
    fn start_with_tokens() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = ["hub_reader", "hub_writer", "operator"].map(|principal| {
            let path = folder.path().join(principal);
            std::fs::write(&path, token(principal)).unwrap();
            format!("auth.{principal}_file={}", path.display())
        });
        let process = spawn(folder.path(), "hub", &settings.each_ref().map(String::as_str));
        let addr = SocketAddr::from(([127, 0, 0, 1], process.wait_ready()));
        Self { process, addr, folder }
    }

    /// What counts its minutes.
    fn start_metrics(&self) -> Process {
        let process = spawn(self.folder.path(), "hub-metrics", &[]);
        process.wait_ready();
        process
    }

    fn post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let headers: Vec<_> = [JSON].into_iter().chain(headers.iter().copied()).collect();
        call(self.addr, "POST", path, &headers, &body.to_string())
    }

    /// The whole answer to an operation.
    fn ask(&self, query: &str, variables: Value) -> Value {
        let answer = self.post("/graphql", &json!({"query": query, "variables": variables}), &[]);
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{answer:?}");
        answer.json()
    }

    /// The data of an operation that has no errors.
    fn data(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.ask(query, variables);
        assert_eq!(answer["errors"], Value::Null, "{answer}");
        answer["data"].take()
    }

    /// Sends an event; its id.
    fn send(&self, event: &Value) -> String {
        let sent = self.data(SEND, json!({"event": event}));
        sent["sendEvent"]["id"].as_str().unwrap().to_owned()
    }
}

const SEND: &str = "mutation($event: EventInput!) { sendEvent(event: $event) { id duplicate status } }";

fn spawn(folder: &std::path::Path, role: &str, settings: &[&str]) -> Process {
    let own = ["server.port=0", "logging.format=json", "hub.grpc_port=0"];
    let settings = own.iter().chain(settings).flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]);
    let args: Vec<String> = [role.to_owned()].into_iter().chain(settings).collect();
    Process::start(folder, &args, None)
}

fn token(principal: &str) -> String {
    format!("canary-{principal}-0123456789abcdef")
}

fn bearer(principal: &str) -> String {
    format!("Bearer {}", token(principal))
}

/// An event of GraphQL.
fn event(user: &str, amount: impl Into<Value>) -> Value {
    json!({"userId": user, "eventType": "purchase", "amount": amount.into(), "timestamp": AT})
}

/// The code of the first error.
fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("no code: {answer}"))
}
