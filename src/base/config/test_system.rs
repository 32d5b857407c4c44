//! A system for tests: a section with a value of every kind, and a principal.

use std::time::Duration;

use super::spec::{choice, flag, millis, number, parsed, rate};
use super::{Auth, Logging, Reader, Schema, Sections, Server, Sources, load, principals, section};

principals! {
    /// A client.
    PRODUCER = "producer", token: "token of the client", file: "file with it";
    /// A role.
    WORKER = "worker", token: "token of the role", file: "file with it";
}

section! {
    /// A value of every kind.
    pub struct Sample in "sample" {
        /// a number with a short name, and a comment
        /// of two lines
        pub count: u32 = number(5, 1..=1000).unit("things").short("SAMPLE_COUNT"),
        /// a duration
        pub wait as "wait_ms": Duration = millis(200, 100..=500),
        /// a chance
        pub broken_rate: f64 = rate(0.0),
        /// a switch
        pub strict: bool = flag(false),
        /// a word
        pub is_last as "order": bool = choice("first", &["first", "last"], |word| Ok(word == "last")),
        /// a text of a form
        pub letter: char = parsed("a", letter).local("l"),
    }
}

/// The settings of the system.
#[derive(Debug, Clone)]
pub struct TestSystem {
    /// `[server]`.
    pub server: Server,
    /// `[sample]`.
    pub sample: Sample,
    /// `[logging]`.
    pub logging: Logging,
    /// `[auth]`.
    pub auth: Auth,
}

fn letter(text: &str) -> Result<char, String> {
    text.parse().map_err(|_| "must be one letter".to_owned())
}

impl Sections for TestSystem {
    fn schema() -> Schema {
        Schema::new(&[Server::SECTION, Sample::SECTION, Logging::SECTION, Auth::SECTION], LISTED)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (server, sample) = (Server::read(reader), Sample::read(reader));
        let (logging, auth) = (Logging::read(reader), Auth::read(reader));
        Some(Self { server: server?, sample: sample?, logging: logging?, auth: auth? })
    }

    fn server(&self) -> &Server {
        &self.server
    }

    fn logging(&self) -> &Logging {
        &self.logging
    }

    fn auth(&self) -> &Auth {
        &self.auth
    }
}

/// What these flags alone make of the settings.
///
/// # Errors
/// All faults.
pub fn with_flags(flags: &[(&str, &str)]) -> Result<TestSystem, Vec<String>> {
    let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let sources = Sources { flags, folder: "/nonexistent".into(), ..Sources::default() };
    load::load(&sources).map(|loaded| loaded.settings).map_err(|faults| faults.0)
}
