//! How long a client may keep us waiting, and how much of us it may take.

use std::time::Duration;

use super::watched::Patience;
use crate::base::config;

/// How much longer than reading and writing a request may take: the longest a poll for work may wait.
const LONG_POLL: Duration = Duration::from_secs(30);

/// What a client may take from us.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest a request's head, and then its body, may take to arrive.
    pub read_timeout: Duration,
    /// The longest a response may wait for a reader that takes nothing.
    pub write_timeout: Duration,
    /// The longest a kept connection may be silent between two requests.
    pub idle_timeout: Duration,
    /// Connections served at once; more wait in the kernel's queue.
    pub max_connections: usize,
    /// Bytes of one body.
    pub body_bytes_max: usize,
    /// The longest from a request's head to its response's head.
    pub total_timeout: Duration,
    /// The longest the drain may take.
    pub drain_timeout: Duration,
}

impl Limits {
    /// The limits of these settings; how large a body may be is the role's to know.
    pub fn new(server: &config::Server, body_bytes_max: usize) -> Self {
        Self {
            read_timeout: server.read_timeout,
            write_timeout: server.write_timeout,
            idle_timeout: server.idle_timeout,
            max_connections: server.max_connections,
            body_bytes_max,
            total_timeout: server.read_timeout + server.write_timeout + LONG_POLL,
            drain_timeout: server.drain_timeout,
        }
    }

    /// What the connection has to know of them.
    pub(super) fn patience(&self) -> Patience {
        Patience { read: self.read_timeout, write: self.write_timeout, idle: self.idle_timeout }
    }
}
