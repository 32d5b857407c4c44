//! `[auth]`: whose calls are taken, by the tokens that they bring.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest, Sha256};

use super::Key;
use super::principal::{Listed, Principal};
use super::secret::Secret;
use super::section::{Reader, section};
use super::spec::flag;
use super::values::{Typed, Values};

/// Characters of a token, at the least: shorter ones can be guessed.
const TOKEN_CHARS_MIN: usize = 16;
/// Characters of a token, at the most.
const TOKEN_CHARS_MAX: usize = 256;
/// Tokens per principal: the new one and the old one while they are changed.
const TOKENS_MAX: usize = 2;
/// Bytes of a token file.
const FILE_BYTES_MAX: u64 = 4096;

section! {
    /// What stands in the section beside the tokens.
    struct Open in "auth" {
        /// listen beyond loopback although there are no tokens
        insecure: bool = flag(false),
    }
}

/// The tokens of the principals. Clones share them: when tokens are replaced, all clones have the new ones.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// Listen beyond loopback without tokens.
    pub insecure: bool,
    tokens: Arc<RwLock<Tokens>>,
    files: Vec<(String, PathBuf)>,
}

/// The tokens at one moment; each principal's first one first.
pub type Tokens = Arc<[Token]>;

/// A token of a principal.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The principal that the token belongs to.
    pub principal: Principal,
    /// What is sent.
    pub secret: Secret,
    /// What presented tokens are compared with.
    pub digest: [u8; 32],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.principal.name(), self.secret)
    }
}

impl Auth {
    /// The setting of `[auth]` that is no token; those of the tokens are listed with the principals.
    pub const SECTION: &'static [Key] = Open::SECTION;

    /// Tokens of principals, each principal's first one first; for tests and for roles that make their own.
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

    /// The token that this principal sends: the first of its own.
    pub fn token(&self, principal: Principal) -> Option<Secret> {
        self.tokens().iter().find(|token| token.principal == principal).map(|token| token.secret.clone())
    }

    /// Takes the tokens of others in place of its own, in this value and all its clones at once.
    pub fn replace_tokens(&self, others: &Self) {
        let tokens = others.tokens();
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
    }

    /// Whether there is a token of this principal.
    pub fn has(&self, principal: Principal) -> bool {
        self.token(principal).is_some()
    }

    /// Reads the tokens from the settings and from the files that they name; once, for all systems. None if something is
    /// wrong, which the reader notes.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        if reader.auth.is_none() {
            let open = Open::read(reader)?;
            let (tokens, files, faults) = tokens(reader);
            faults.into_iter().for_each(|fault| reader.fault(fault));
            reader.auth = Some(Self { files, ..Self::new(open.insecure, tokens) });
        }
        reader.auth.clone()
    }
}

/// Tokens by principal, each principal's first one first.
type ByPrincipal = Vec<(Principal, Secret)>;

/// The tokens, the files that they were read from by their settings, and all faults.
fn tokens(reader: &Reader<'_>) -> (ByPrincipal, Vec<(String, PathBuf)>, Vec<String>) {
    let (mut tokens, mut files, mut faults) = (ByPrincipal::new(), Vec::new(), Vec::new());
    for listed in reader.schema.listed() {
        if let Some(file) = file_of(reader.values, listed) {
            files.push((listed.file.path.to_owned(), PathBuf::from(file)));
        }
        match read(reader.values, listed) {
            Ok(read) => tokens.extend(read.into_iter().map(|token| (listed.principal, token))),
            Err(fault) => faults.push(fault),
        }
    }
    for (at, (principal, token)) in tokens.iter().enumerate() {
        let before = tokens[..at].iter().find(|(_, other)| other == token);
        match before {
            Some((other, _)) if other == principal => {
                faults.push(format!("auth.{}: names one token twice", principal.name()));
            }
            Some((other, _)) => faults.push(format!(
                "auth.{} and auth.{} share a token; every role needs tokens of its own",
                other.name(),
                principal.name()
            )),
            None => {}
        }
    }
    (tokens, files, faults)
}

fn digested(tokens: ByPrincipal) -> Tokens {
    let digested = tokens.into_iter().map(|(principal, secret)| {
        let digest = Sha256::digest(secret.expose()).into();
        Token { principal, secret, digest }
    });
    digested.collect()
}

fn file_of<'a>(values: &'a Values, listed: &Listed) -> Option<&'a str> {
    match values.get(listed.file.path) {
        Some(Typed::Text(file)) => Some(file),
        _ => None,
    }
}

/// The tokens of one principal.
fn read(values: &Values, listed: &Listed) -> Result<Vec<Secret>, String> {
    let (key, file_key) = (listed.token.path, listed.file.path);
    match (values.get(key), file_of(values, listed)) {
        (Some(_), Some(_)) => Err(format!("{key} and {file_key} are both set; set one of them")),
        (Some(Typed::Secret(secret)), None) => parse(secret.expose().split(',')).map_err(|why| format!("{key}: {why}")),
        (_, None) => Ok(Vec::new()),
        (None, Some(file)) => {
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
    use super::super::test_system::{PRODUCER, WORKER, with_flags as load};
    use super::*;

    const NEW: &str = "new-token-0123456789";
    const OLD: &str = "old-token-0123456789";

    fn tokens(auth: &Auth) -> Vec<(Principal, String)> {
        auth.tokens().iter().map(|token| (token.principal, token.secret.expose().to_owned())).collect()
    }

    #[test]
    fn a_value_is_one_token_or_two_and_the_first_is_sent() {
        let auth =
            load(&[("auth.operator", &format!("{NEW}, {OLD}")), ("auth.producer", &OLD.to_uppercase())]).unwrap().auth;
        let expected = [
            (PRODUCER, OLD.to_uppercase()),
            (Principal::OPERATOR, NEW.to_owned()),
            (Principal::OPERATOR, OLD.to_owned()),
        ];
        assert_eq!(tokens(&auth), expected);
        assert_eq!(auth.token(Principal::OPERATOR), Some(Secret::new(NEW)));
        assert!(auth.has(PRODUCER) && !auth.has(WORKER));
    }

    #[test]
    fn replaced_tokens_are_those_of_all_clones() {
        let auth = |token: &str| Auth::new(false, vec![(Principal::OPERATOR, Secret::new(token))]);
        let (first, other) = (auth(OLD), auth(NEW));
        let clone = first.clone();
        first.replace_tokens(&other);
        assert_eq!(clone.token(Principal::OPERATOR), Some(Secret::new(NEW)));
        assert_eq!(format!("{clone:?}").matches("***").count(), 1, "{clone:?}");
    }

    #[test]
    fn a_file_may_hold_them_in_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let read = |content: &str| {
            std::fs::write(&path, content).unwrap();
            load(&[("auth.worker_file", path.to_str().unwrap())])
        };
        for content in [format!("{NEW}\n{OLD}\n"), format!("{NEW},{OLD}"), format!("{NEW}\r\n{OLD}\r\n")] {
            assert_eq!(tokens(&read(&content).unwrap().auth), [NEW, OLD].map(|text| (WORKER, text.to_owned())));
        }
        let long = "x".repeat(5000);
        for (content, part) in [("", "16 to 256"), ("\n\n", "16 to 256"), ("short", "16 to 256"), (&long, "too large")]
        {
            let faults = read(content).unwrap_err();
            assert!(
                faults.len() == 1 && faults[0].starts_with("auth.worker_file: ") && faults[0].contains(part),
                "{faults:?}"
            );
        }
        let gone = load(&[("auth.worker_file", "/nonexistent/token")]).unwrap_err();
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
