//! `[auth]`: whose calls are taken, by the tokens that they bring.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest, Sha256};

use super::load::Values;
use super::secret::Secret;

/// Characters of a token, at the least: shorter ones can be guessed.
const TOKEN_CHARS_MIN: usize = 16;
/// Characters of a token, at the most.
const TOKEN_CHARS_MAX: usize = 256;
/// Tokens per party: the new one and the old one while they are changed.
const TOKENS_MAX: usize = 2;
/// Bytes of a token file.
const FILE_BYTES_MAX: u64 = 4096;

/// The party that has a token and makes calls with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Principal {
    /// A client that posts events.
    Producer,
    /// The event-ingest.
    EventIngest,
    /// The shard-splitter.
    ShardSplitter,
    /// Every shard-worker.
    ShardWorker,
    /// The mysql-sender.
    MysqlSender,
    /// A person who looks after all of it.
    Operator,
}

/// The tokens of the principals. Clones share them: when tokens are replaced, all clones have the new ones.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// Listen beyond loopback without tokens.
    pub insecure: bool,
    tokens: Arc<RwLock<Tokens>>,
    files: Vec<(String, PathBuf)>,
}

/// The tokens at one moment; each party's first one first.
pub type Tokens = Arc<[Token]>;

/// A token of a party.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The principal that the token belongs to.
    pub party: Principal,
    /// What is sent.
    pub secret: Secret,
    /// What presented tokens are compared with.
    pub digest: [u8; 32],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.party.name(), self.secret)
    }
}

impl Principal {
    /// All parties.
    pub const ALL: [Self; 6] =
        [Self::Producer, Self::EventIngest, Self::ShardSplitter, Self::ShardWorker, Self::MysqlSender, Self::Operator];

    /// The party's name in the settings below `auth.`, in problems and in the OpenAPI document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::EventIngest => "event_ingest",
            Self::ShardSplitter => "shard_splitter",
            Self::ShardWorker => "shard_worker",
            Self::MysqlSender => "mysql_sender",
            Self::Operator => "operator",
        }
    }
}

impl Auth {
    /// Tokens of parties, each party's first one first; for tests and for roles that make their own.
    pub fn new(insecure: bool, tokens: Vec<(Principal, Secret)>) -> Self {
        Self { insecure, tokens: Arc::new(RwLock::new(digested(tokens))), files: Vec::new() }
    }

    /// The files that tokens were read from, by the settings that name them.
    pub fn files(&self) -> &[(String, PathBuf)] {
        &self.files
    }

    /// All tokens that are accepted at the moment.
    pub fn tokens(&self) -> Tokens {
        // What is replaced is one pointer: it is whole also after a panic elsewhere.
        Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The token that this party sends: the first of its own.
    pub fn token(&self, party: Principal) -> Option<Secret> {
        self.tokens().iter().find(|token| token.party == party).map(|token| token.secret.clone())
    }

    /// Takes the tokens of others in place of its own, in this value and all its clones at once.
    pub fn replace_tokens(&self, others: &Self) {
        let tokens = others.tokens();
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
    }

    /// Whether there is a token of this party.
    pub fn has(&self, party: Principal) -> bool {
        self.token(party).is_some()
    }

    /// Reads the tokens from the settings and from the files that they name.
    pub(super) fn from_values(values: &Values, faults: &mut Vec<String>) -> Self {
        let mut tokens: Vec<(Principal, Secret)> = Vec::new();
        let mut files = Vec::new();
        for party in Principal::ALL {
            let file_key = format!("auth.{}_file", party.name());
            match values.text(&file_key) {
                "" => {}
                file => files.push((file_key, PathBuf::from(file))),
            }
            match read(values, party) {
                Ok(read) => tokens.extend(read.into_iter().map(|token| (party, token))),
                Err(fault) => faults.push(fault),
            }
        }
        for (at, (party, token)) in tokens.iter().enumerate() {
            let before = tokens[..at].iter().find(|(_, other)| other == token);
            match before {
                Some((other, _)) if other == party => {
                    faults.push(format!("auth.{}: names one token twice", party.name()))
                }
                Some((other, _)) => faults.push(format!(
                    "auth.{} and auth.{} share a token; every role needs tokens of its own",
                    other.name(),
                    party.name()
                )),
                None => {}
            }
        }
        Self { files, ..Self::new(values.flag("auth.insecure"), tokens) }
    }
}

fn digested(tokens: Vec<(Principal, Secret)>) -> Tokens {
    let digested = tokens.into_iter().map(|(party, secret)| {
        let digest = Sha256::digest(secret.expose()).into();
        Token { party, secret, digest }
    });
    digested.collect()
}

fn read(values: &Values, party: Principal) -> Result<Vec<Secret>, String> {
    let key = format!("auth.{}", party.name());
    let file_key = format!("{key}_file");
    match (values.secret(&key), values.text(&file_key)) {
        (None, "") => Ok(Vec::new()),
        (Some(_), file) if !file.is_empty() => Err(format!("{key} and {file_key} are both set; set one of them")),
        (Some(secret), _) => parse(secret.expose().split(',')).map_err(|why| format!("{key}: {why}")),
        (None, file) => {
            let text = read_file(file).map_err(|why| format!("{file_key}: {why}"))?;
            let tokens = text.trim().split([',', '\n']).map(|token| token.trim_end_matches('\r'));
            parse(tokens).map_err(|why| format!("{file_key}: in {file}, {why}"))
        }
    }
}

fn read_file(path: &str) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Err(e) => Err(format!("cannot read {path}: {e}")),
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => Err(format!("{path} is no token file: it is too large")),
        Ok(_) => Ok(text),
    }
}

/// The tokens of one value. What is wrong is said without saying what the value is.
fn parse<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<Secret>, String> {
    let tokens: Vec<&str> = texts.map(|text| text.trim_matches(' ')).collect();
    if tokens.len() > TOKENS_MAX {
        return Err("there are more than two tokens; expected is one, or NEW,OLD while they are changed".to_owned());
    }
    for token in &tokens {
        let sane = token.bytes().all(|byte| byte.is_ascii_graphic());
        if !sane || !(TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&token.len()) {
            return Err(format!(
                "a token must have {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} characters, all of them visible ASCII; 'openssl rand -hex 32' makes one"
            ));
        }
    }
    Ok(tokens.into_iter().map(Secret::new).collect())
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, Sources, load};
    use super::*;

    const NEW: &str = "new-token-0123456789";
    const OLD: &str = "old-token-0123456789";

    fn load(flags: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let sources = Sources { flags, folder: "/nonexistent".into(), ..Sources::default() };
        load::load(&sources).map(|loaded| loaded.settings).map_err(|faults| faults.0)
    }

    fn tokens(auth: &Auth) -> Vec<(Principal, String)> {
        auth.tokens().iter().map(|token| (token.party, token.secret.expose().to_owned())).collect()
    }

    #[test]
    fn a_value_is_one_token_or_two_and_the_first_is_sent() {
        let auth =
            load(&[("auth.operator", &format!("{NEW}, {OLD}")), ("auth.producer", &OLD.to_uppercase())]).unwrap().auth;
        let expected = [
            (Principal::Producer, OLD.to_uppercase()),
            (Principal::Operator, NEW.to_owned()),
            (Principal::Operator, OLD.to_owned()),
        ];
        assert_eq!(tokens(&auth), expected);
        assert_eq!(auth.token(Principal::Operator), Some(Secret::new(NEW)));
        assert!(auth.has(Principal::Producer) && !auth.has(Principal::ShardWorker));
    }

    #[test]
    fn replaced_tokens_are_those_of_all_clones() {
        let auth = |token: &str| Auth::new(false, vec![(Principal::Operator, Secret::new(token))]);
        let (first, other) = (auth(OLD), auth(NEW));
        let clone = first.clone();
        first.replace_tokens(&other);
        assert_eq!(clone.token(Principal::Operator), Some(Secret::new(NEW)));
        assert_eq!(format!("{clone:?}").matches("***").count(), 1, "{clone:?}");
    }

    #[test]
    fn a_file_may_hold_them_in_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let read = |content: &str| {
            std::fs::write(&path, content).unwrap();
            load(&[("auth.shard_worker_file", path.to_str().unwrap())])
        };
        for content in [format!("{NEW}\n{OLD}\n"), format!("{NEW},{OLD}"), format!("{NEW}\r\n{OLD}\r\n")] {
            assert_eq!(
                tokens(&read(&content).unwrap().auth),
                [NEW, OLD].map(|text| (Principal::ShardWorker, text.to_owned()))
            );
        }
        let long = "x".repeat(5000);
        for (content, part) in [("", "16 to 256"), ("\n\n", "16 to 256"), ("short", "16 to 256"), (&long, "too large")]
        {
            let faults = read(content).unwrap_err();
            assert!(
                faults.len() == 1 && faults[0].starts_with("auth.shard_worker_file: ") && faults[0].contains(part),
                "{faults:?}"
            );
        }
        let gone = load(&[("auth.shard_worker_file", "/nonexistent/token")]).unwrap_err();
        assert!(gone[0].contains("cannot read /nonexistent/token"), "{gone:?}");
    }

    #[test]
    fn faults_name_the_keys_and_never_the_values() {
        let three = format!("{NEW},{OLD},{NEW}x");
        let twice = format!("{NEW},{NEW}");
        for (flags, expected) in [
            (&[("auth.producer", "canary-short")][..], "auth.producer: a token must have 16 to 256 characters"),
            (&[("auth.producer", "canary with blanks 0123")], "visible ASCII"),
            (&[("auth.producer", "canary-\u{e9}-0123456789")], "visible ASCII"),
            (&[("auth.producer", "canary-0123456789,")], "visible ASCII"),
            (&[("auth.producer", three.as_str())], "more than two tokens"),
            (&[("auth.producer", twice.as_str())], "auth.producer: names one token twice"),
            (&[("auth.producer", NEW), ("auth.operator", NEW)], "auth.producer and auth.operator share a token"),
            (
                &[("auth.producer", NEW), ("auth.producer_file", "/x")],
                "auth.producer and auth.producer_file are both set",
            ),
        ] {
            let faults = load(flags).unwrap_err();
            assert!(faults.len() == 1 && faults[0].contains(expected), "{expected}: {faults:?}");
            assert!(!faults[0].contains("canary") && !faults[0].contains(NEW), "{faults:?}");
        }
    }
}
