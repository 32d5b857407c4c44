//! The sections that every role has; `[auth]` is in [`super::auth`].

use std::path::PathBuf;
use std::time::Duration;

use super::section::{Reader, section};
use super::spec::{DAY_SECS, choice, number, parsed, port, secs, text};

section! {
    /// Where and how a role listens.
    pub struct Server in "server" {
        /// address to listen on; without tokens and without auth.insecure it is 127.0.0.1 whatever stands here
        pub host: String = text("0.0.0.0").local("127.0.0.1"),
        /// port to listen on, 0 = any free one; default: event-ingest 8080, apid 8082, balance 8083, cache 8084,
        /// split 8085, send 8086, work 8100 + shard, hub 8000, hub-metrics 8001
        pub port: Option<u16> = port().short("SERVER_PORT"),
        /// seconds that a request's head, and then its body, may take to arrive
        pub read_timeout: Duration = secs(30, 1..=DAY_SECS),
        /// seconds that a response may wait for a slow reader
        pub write_timeout: Duration = secs(30, 1..=DAY_SECS),
        /// seconds that a kept connection may be silent
        pub idle_timeout: Duration = secs(120, 1..=DAY_SECS),
        /// connections served at once; more wait in the kernel's queue
        pub max_connections: usize = number(1024, 1..=100_000).unit("connections"),
        /// seconds that a stop may take before everything ends
        pub drain_timeout: Duration = secs(20, 1..=DAY_SECS),
    }
}

section! {
    /// The folder of everything that is not on a server.
    pub struct Folder in "shared" {
        /// the shared folder; each role writes into its own subfolder only
        pub dir: PathBuf = parsed("/shared", |dir| Ok(PathBuf::from(dir))).local("./shared"),
    }
}

impl Folder {
    /// The mark in the URLs of databases that stands for the folder.
    const MARK: &'static str = "{shared}";

    /// Reads a section, with `{shared}` in its texts replaced by the folder.
    pub fn mark<T>(reader: &mut Reader<'_>, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let dir = Self::read(reader).map(|folder| folder.dir.to_string_lossy().into_owned());
        reader.with_mark(Self::MARK, &dir.unwrap_or_default(), read)
    }
}

section! {
    /// The log.
    pub struct Logging in "logging" {
        /// least level to log (ERROR, WARN, INFO, DEBUG, TRACE), or a filter as in RUST_LOG
        pub level: String = parsed("INFO", filter),
        /// json: one object a line; text: for people
        pub json as "format": bool = choice("json", &["json", "text"], |word| Ok(word == "json")).local("text"),
    }
    beside {
        /// Whether the environment asks for plain output, by `NO_COLOR`.
        pub is_plain: bool = Reader::is_plain,
    }
}

fn filter(level: &str) -> Result<String, String> {
    let parsed = env_filter::Builder::new().try_parse(level).map(drop);
    parsed.map(|()| level.to_owned()).map_err(|e| format!("'{level}' is no filter: {e}"))
}
