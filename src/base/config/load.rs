//! Layers the sources over the schema, remembers where each value came from, and lists all faults at once.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use config::{Environment, File, FileFormat, Source, Value, ValueKind};

use serde_json::json;

use super::schema::{KEYS, Key, Kind, find};
use super::secret::{Secret, mask};
use super::{Settings, names};

/// Environment names of the seed, beside the uniform `SHOPCTL__SECTION__KEY`.
const SEED_NAMES: [(&str, &str); 3] = [
    ("SERVER_PORT", "server.port"),
    ("PIPELINE_URL", "pipeline.url"),
    ("PIPELINE_SHARDS_COUNT", "pipeline.shards_count"),
];
/// The file that is read when no other is named.
const DEFAULT_FILE: &str = "shopctl.toml";

/// The origin of values that nothing sets.
const DEFAULT: &str = "default";
/// The origin of values from `SHOPCTL__SECTION__KEY`.
const ENVIRONMENT: &str = "environment";
/// The origin of values from the command line.
const FLAG: &str = "flag";

/// Which defaults hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// On a developer's machine: loopback addresses, `./shared`, text logs.
    #[default]
    Local,
    /// In a container: the seed's defaults. The image says so by `SHOPCTL_PROFILE=container`.
    Container,
}

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config FILE`.
    pub file: Option<PathBuf>,
    /// `--set section.key=value`, and flags that stand for a setting.
    pub flags: Vec<(String, String)>,
    /// The environment.
    pub environment: HashMap<String, String>,
    /// Variables with a name of this program that are not UTF-8, in name or value.
    pub unreadable: Vec<String>,
    /// Values that a role puts in place of the defaults.
    pub role_defaults: Vec<(&'static str, String)>,
    /// Look for `shopctl.toml` here if no file is named.
    pub folder: PathBuf,
}

/// Settings, and where each value came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The checked settings.
    pub settings: Settings,
    values: Values,
}

/// Everything that is wrong with the settings, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the settings are not right:\n  {}", .0.join("\n  "))]
pub struct Faults(pub Vec<String>);

/// A value of its key's kind.
#[derive(Debug, Clone, PartialEq)]
enum Typed {
    Text(String),
    Secret(Secret),
    Int(u64),
    Rate(f64),
    Bool(bool),
}

/// All values by path, each with its origin.
#[derive(Debug, Clone, Default)]
pub(super) struct Values(BTreeMap<&'static str, (Typed, String)>);

impl Sources {
    /// The sources of this process: its environment and its folder.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let (environment, unreadable) = read_environment(std::env::vars_os());
        Self { file, flags, environment, unreadable, role_defaults: Vec::new(), folder: PathBuf::from(".") }
    }

    /// Which defaults hold here.
    ///
    /// # Errors
    /// [`Faults`] when `SHOPCTL_PROFILE` names none.
    pub fn find_profile(&self) -> Result<Profile, Faults> {
        let mut faults = Vec::new();
        let profile = self.profile(&mut faults);
        if faults.is_empty() { Ok(profile) } else { Err(Faults(faults)) }
    }

    fn profile(&self, faults: &mut Vec<String>) -> Profile {
        match self.environment.get("SHOPCTL_PROFILE").map(String::as_str) {
            None | Some("" | "local") => Profile::Local,
            Some("container") => Profile::Container,
            Some(other) => {
                faults.push(format!("SHOPCTL_PROFILE is '{other}', it must be local or container"));
                Profile::Local
            }
        }
    }
}

/// The variables that are text, and the names of those of ours that are none.
fn read_environment(vars: impl Iterator<Item = (OsString, OsString)>) -> (HashMap<String, String>, Vec<String>) {
    let (mut environment, mut unreadable) = (HashMap::new(), Vec::new());
    for (name, value) in vars {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => drop(environment.insert(name, value)),
            (name, _) => {
                let name = name.unwrap_or_else(|name| name.to_string_lossy().into_owned());
                if name.starts_with(names::PREFIX) || SEED_NAMES.iter().any(|(seed, _)| *seed == name) {
                    unreadable.push(name);
                }
            }
        }
    }
    unreadable.sort();
    (environment, unreadable)
}

/// Layers and checks all sources.
///
/// # Errors
/// [`Faults`] with everything that is wrong.
pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
    let mut faults = Vec::new();
    let mut values = Values::default();
    let profile = sources.profile(&mut faults);
    values.add_defaults(profile, &sources.role_defaults, &mut faults);
    match file_values(sources) {
        Ok((origin, table)) => values.add_tree("", table, &origin, &mut faults),
        Err(fault) => faults.push(fault),
    }
    for (name, path) in SEED_NAMES {
        if let Some(text) = sources.environment.get(name).filter(|text| !text.is_empty()) {
            values.add_text(path, text, &format!("environment {name}"), &mut faults);
        }
    }
    let unreadable = sources.unreadable.iter();
    faults.extend(unreadable.map(|name| format!("{name} (environment): a text in UTF-8 is expected")));
    faults.extend(names::faults(&sources.environment));
    add_environment(sources, &mut values, &mut faults);
    for (path, text) in &sources.flags {
        values.add_text(path, text, FLAG, &mut faults);
    }
    let settings = if faults.is_empty() { Settings::from_values(&values, &mut faults) } else { None };
    match settings {
        Some(mut settings) => {
            settings.logging.is_plain = sources.environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
            Ok(Loaded { settings, values })
        }
        None => Err(Faults(faults.iter().map(|fault| escaped(fault, |_| false)).collect())),
    }
}

fn file_values(sources: &Sources) -> Result<(String, HashMap<String, Value>), String> {
    let path = match &sources.file {
        Some(path) => path.clone(),
        None => sources.folder.join(DEFAULT_FILE),
    };
    if sources.file.is_none() && !path.exists() {
        return Ok((String::new(), HashMap::new()));
    }
    let text = std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let table = File::from_str(&text, FileFormat::Toml)
        .collect()
        .map_err(|e| format!("{} is no TOML: {}", path.display(), without_excerpt(&e.to_string())))?;
    Ok((format!("file {}", path.display()), table.into_iter().collect()))
}

/// What is wrong with a file and where, without the lines of the file that the parser quotes: they may hold a secret.
fn without_excerpt(error: &str) -> String {
    let is_excerpt =
        |line: &&str| line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|');
    error.lines().filter(|line| !is_excerpt(line)).collect::<Vec<_>>().join(" ")
}

fn add_environment(sources: &Sources, values: &mut Values, faults: &mut Vec<String>) {
    let own = Environment::with_prefix("SHOPCTL")
        .prefix_separator("__")
        .separator("__")
        .ignore_empty(true)
        .source(Some(sources.environment.clone()));
    match own.collect() {
        Ok(table) => values.add_tree("", table.into_iter().collect(), ENVIRONMENT, faults),
        Err(e) => faults.push(format!("the environment cannot be read: {e}")),
    }
}

impl Values {
    fn add_defaults(&mut self, profile: Profile, role: &[(&'static str, String)], faults: &mut Vec<String>) {
        for key in KEYS {
            let default = key.default_in(profile);
            if !default.is_empty() {
                self.add_text(key.path, default.trim_matches('"'), DEFAULT, faults);
            }
        }
        for (path, text) in role {
            self.add_text(path, text, "default of the role", faults);
        }
    }

    fn add_tree(&mut self, prefix: &str, table: HashMap<String, Value>, origin: &str, faults: &mut Vec<String>) {
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, value) in entries {
            let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value.kind {
                ValueKind::Table(inner) if find(&path).is_none() => {
                    self.add_tree(&path, inner.into_iter().collect(), origin, faults);
                }
                ValueKind::Table(_) | ValueKind::Array(_) | ValueKind::Nil => {
                    faults.push(format!("{path} ({origin}): a single value is expected"));
                }
                kind => self.add_value(&path, kind, origin, faults),
            }
        }
    }

    /// A value with the type that TOML gave it: a number is no text, and text is no number.
    fn add_value(&mut self, path: &str, value: ValueKind, origin: &str, faults: &mut Vec<String>) {
        let textual = matches!(value, ValueKind::String(_));
        let wants_text = find(path).is_some_and(|key| matches!(key.kind, Kind::Text | Kind::Secret | Kind::Choice(_)));
        if origin.starts_with("file") && find(path).is_some() && textual != wants_text {
            let expected = if wants_text { "a text in quotes" } else { "a value without quotes" };
            faults.push(format!("{path} ({origin}): {expected} is expected"));
            return;
        }
        self.add_text(path, &value.to_string(), origin, faults);
    }

    fn add_text(&mut self, path: &str, text: &str, origin: &str, faults: &mut Vec<String>) {
        let Some(key) = find(path) else {
            faults.push(unknown(path, origin));
            return;
        };
        match read(key, text) {
            Ok(typed) => {
                self.0.insert(key.path, (typed, origin.to_owned()));
            }
            Err(expected) => {
                // A value in the wrong place may be a secret that belongs elsewhere: passwords are masked here too.
                faults.push(format!("{path} ({origin}) is '{}': {expected} is expected", mask(text)));
            }
        }
    }

    pub(super) fn text(&self, path: &str) -> &str {
        match self.0.get(path) {
            Some((Typed::Text(text), _)) => text,
            _ => "",
        }
    }

    pub(super) fn secret(&self, path: &str) -> Option<&Secret> {
        match self.0.get(path) {
            Some((Typed::Secret(secret), _)) => Some(secret),
            _ => None,
        }
    }

    pub(super) fn int(&self, path: &str) -> u64 {
        match self.0.get(path) {
            Some((Typed::Int(number), _)) => *number,
            _ => 0,
        }
    }

    pub(super) fn flag(&self, path: &str) -> bool {
        matches!(self.0.get(path), Some((Typed::Bool(true), _)))
    }

    pub(super) fn rate(&self, path: &str) -> f64 {
        match self.0.get(path) {
            Some((Typed::Rate(rate), _)) => *rate,
            _ => 0.0,
        }
    }

    pub(super) fn size(&self, path: &str) -> usize {
        usize::try_from(self.int(path)).unwrap_or(usize::MAX)
    }

    pub(super) fn small(&self, path: &str) -> u32 {
        u32::try_from(self.int(path)).unwrap_or(u32::MAX)
    }

    pub(super) fn port(&self, path: &str) -> Option<u16> {
        self.0.contains_key(path).then(|| u16::try_from(self.int(path)).unwrap_or(0))
    }

    pub(super) fn secs(&self, path: &str) -> Duration {
        Duration::from_secs(self.int(path))
    }

    pub(super) fn ms(&self, path: &str) -> Duration {
        Duration::from_millis(self.int(path))
    }
}

impl Loaded {
    /// Whether nothing sets this key: its value is the program's own.
    pub fn is_default(&self, path: &str) -> bool {
        self.values.0.get(path).is_none_or(|(_, origin)| origin == DEFAULT)
    }

    /// The keys that have another value in other settings, in the order of the schema.
    pub fn changes(&self, other: &Self) -> Vec<&'static str> {
        let value = |loaded: &Self, path: &str| loaded.values.0.get(path).map(|(value, _)| value.clone());
        let differs = |key: &&Key| value(self, key.path) != value(other, key.path);
        KEYS.iter().filter(differs).map(|key| key.path).collect()
    }

    /// The settings that hold a secret and were given on the command line, where every user of the machine can read it.
    pub fn exposed(&self) -> Vec<&'static str> {
        let is_secret = |value: &Typed| match value {
            Typed::Secret(_) => true,
            Typed::Text(text) => mask(text) != *text,
            _ => false,
        };
        let flags = self.values.0.iter().filter(|(_, (value, origin))| origin == FLAG && is_secret(value));
        flags.map(|(path, _)| *path).collect()
    }

    /// The effective settings as TOML, with tokens and with passwords in URLs masked; `origins` adds where each value came from.
    pub fn show(&self, origins: bool) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            let (own, name) = key.path.split_once('.').unwrap_or(("", key.path));
            if own != section {
                section = own;
                let lead = if text.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{lead}[{section}]\n"));
            }
            if let Some((value, origin)) = self.values.0.get(key.path) {
                let origin = if origins { format!("  # {origin}") } else { String::new() };
                // Writing to a String cannot fail.
                writeln!(text, "{name} = {}{origin}", show_value(value)).unwrap_or_default();
            }
        }
        text
    }

    /// The same as [`Loaded::show`] for programs: the value of every key, or with `origins` an object of value and origin.
    pub fn show_json(&self, origins: bool) -> serde_json::Value {
        let mut sections = serde_json::Map::new();
        for (path, (value, origin)) in &self.values.0 {
            let (section, name) = path.split_once('.').unwrap_or(("", path));
            let value = match value {
                Typed::Text(text) => json!(mask(text)),
                Typed::Secret(secret) => json!(secret.to_string()),
                Typed::Int(number) => json!(number),
                Typed::Rate(rate) => json!(rate),
                Typed::Bool(flag) => json!(flag),
            };
            let shown = if origins { json!({"value": value, "origin": origin}) } else { value };
            sections.entry(section).or_insert_with(|| json!({}))[name] = shown;
        }
        serde_json::Value::Object(sections)
    }
}

fn show_value(value: &Typed) -> String {
    match value {
        Typed::Text(text) => format!("\"{}\"", escaped(&mask(text), |c| matches!(c, '"' | '\\'))),
        Typed::Secret(secret) => format!("\"{secret}\""),
        Typed::Int(number) => number.to_string(),
        Typed::Rate(rate) => format!("{rate:?}"),
        Typed::Bool(flag) => flag.to_string(),
    }
}

/// The text as one line that no terminal obeys: control characters, and what else is named, in the escapes of TOML.
fn escaped(text: &str, also: impl Fn(char) -> bool) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if also(c) => line.extend(['\\', c]),
            c if c.is_control() => line.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => line.push(c),
        }
    }
    line
}

/// The value, or what is expected.
fn read(key: &Key, text: &str) -> Result<Typed, String> {
    let typed = match key.kind {
        Kind::Text => (!text.is_empty()).then(|| Typed::Text(text.to_owned())),
        Kind::Secret => (!text.is_empty()).then(|| Typed::Secret(Secret::new(text))),
        Kind::Choice(words) => words.contains(&text).then(|| Typed::Text(text.to_owned())),
        Kind::Int(least, most) => text.parse().ok().filter(|number| (least..=most).contains(number)).map(Typed::Int),
        Kind::Rate => text.parse::<f64>().ok().filter(|rate| (0.0..=1.0).contains(rate)).map(Typed::Rate),
        Kind::Bool => text.parse().ok().map(Typed::Bool),
    };
    typed.ok_or_else(|| key.expected())
}

fn unknown(path: &str, origin: &str) -> String {
    if origin == ENVIRONMENT {
        let variable = format!("SHOPCTL__{}", path.replace('.', "__").to_uppercase());
        return format!("{variable} ({origin}) is no setting; {}", names::hint(&variable));
    }
    let nearest = KEYS.iter().map(|key| (strsim::damerau_levenshtein(key.path, path), key.path)).min();
    let hint = match nearest {
        Some((distance, key)) if distance <= 3 => format!("; did you mean {key}?"),
        _ => "; 'shopctl config default' lists all keys".to_owned(),
    };
    format!("{path} ({origin}) is no setting{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::base::config::Cleanup;

    fn sources(toml: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> (Sources, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(DEFAULT_FILE), toml).unwrap();
        let own =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        let sources = Sources {
            flags: own(flags),
            environment: own(environment).into_iter().collect(),
            folder: folder.path().to_owned(),
            ..Sources::default()
        };
        (sources, folder)
    }

    fn loaded(toml: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Settings {
        load(&sources(toml, environment, flags).0).unwrap().settings
    }

    fn faults(toml: &str, environment: &[(&str, &str)]) -> Vec<String> {
        load(&sources(toml, environment, &[]).0).unwrap_err().0
    }

    #[test]
    fn containers_have_the_defaults_of_the_contract() {
        let s = loaded("", &[("SHOPCTL_PROFILE", "container")], &[]);
        assert_eq!((s.server.host.as_str(), s.server.port), ("0.0.0.0", None));
        assert_eq!(
            [s.server.read_timeout, s.server.write_timeout, s.server.idle_timeout].map(|d| d.as_secs()),
            [30, 30, 120]
        );
        assert_eq!(
            (s.events.max_payload_size, s.events.max_batch_size, s.events.events_per_batch),
            (1_048_576, 1000, 5)
        );
        assert_eq!((s.events.validation_timeout.as_secs(), s.events.generation_interval.as_secs()), (5, 10));
        assert_eq!((s.logging.level.as_str(), s.logging.json), ("INFO", true));
        assert_eq!(s.pipeline.url, "http://pipeline-apid:8082/api/v1/pipeline");
        assert_eq!(s.pipeline.shards_count.get(), 2);
        assert_eq!(s.shared.dir, Path::new("/shared"));
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
        let toml = "[server]\nport = 1\n[pipeline]\nshards_count = 3\n[shared]\ncleanup = \"all\"\n";
        let environment =
            [("SERVER_PORT", "2"), ("SHOPCTL__PIPELINE__LEASE_MS", "500"), ("PIPELINE_SHARDS_COUNT", "4")];
        let s = loaded(toml, &environment, &[("server.port", "9")]);
        assert_eq!((s.server.port, s.pipeline.shards_count.get(), s.shared.cleanup), (Some(9), 4, Cleanup::All));
        assert_eq!(s.pipeline.lease.as_millis(), 500);
        assert_eq!(loaded(toml, &environment, &[]).server.port, Some(2));
        assert_eq!(loaded(toml, &[], &[]).server.port, Some(1));
        assert_eq!(loaded("", &[], &[]).pipeline.url, "http://127.0.0.1:8082/api/v1/pipeline");
    }

    #[test]
    fn all_faults_are_listed_at_once() {
        let toml = "[server]\nprot = 1\nhost = 7\n[events]\nmalformed_rate = 2.0\n[pipeline]\nshards_count = 200\nurl = \"ftp:x\"\n";
        let all = faults(toml, &[("SERVER_PORT", "http"), ("SHOPCTL__LOGGING__FORMAT", "yaml")]);
        assert_eq!(all.len(), 6, "{all:#?}");
        for part in [
            "did you mean server.port?",
            "server.host",
            "from 0 to 1",
            "from 1 to 128",
            "SERVER_PORT",
            "one of json, text",
        ] {
            assert!(all.iter().any(|fault| fault.contains(part)), "{part} in {all:#?}");
        }
        assert!(faults("[pipeline]\nurl = \"ftp:x\"\n", &[])[0].contains("pipeline.url"));
        assert!(faults("x = [", &[])[0].contains("no TOML"));
    }

    /// For every role, also for one that has defaults of its own, and in both profiles.
    #[test]
    fn the_sample_file_changes_nothing() {
        let of_up = vec![("balance.opening_balance", "1000000".to_owned()), ("logging.level", "WARN".to_owned())];
        for (name, profile) in [("local", Profile::Local), ("container", Profile::Container)] {
            for role_defaults in [Vec::new(), of_up.clone()] {
                let sample = super::super::schema::sample(profile, &role_defaults);
                let (sources, _folder) = sources(&sample, &[("SHOPCTL_PROFILE", name)], &[]);
                let sources = Sources { role_defaults, ..sources };
                let defaults = load(&Sources { folder: "/nonexistent".into(), ..sources.clone() }).unwrap();
                assert_eq!(load(&sources).unwrap().show(true), defaults.show(true));
            }
        }
    }

    /// What stands behind the comment signs is what holds without a file.
    #[test]
    fn the_sample_file_says_what_the_defaults_are() {
        for (name, profile) in [("local", Profile::Local), ("container", Profile::Container)] {
            let sample = super::super::schema::sample(profile, &[]);
            let is_key = |line: &&str| line.starts_with('[') || !line.starts_with("# ") && line.contains(" = ");
            let set = sample.lines().filter(is_key).map(|line| line.trim_start_matches('#')).collect::<Vec<_>>();
            assert!(set.len() > KEYS.len() / 2, "{set:?}");
            let (sources, _folder) = sources(&set.join("\n"), &[("SHOPCTL_PROFILE", name)], &[]);
            let defaults = load(&Sources { folder: "/nonexistent".into(), ..sources.clone() }).unwrap();
            assert_eq!(load(&sources).unwrap().show(false), defaults.show(false));
        }
    }

    #[test]
    fn a_variable_that_is_no_setting_is_a_fault_with_the_one_that_was_meant() {
        let all = faults("", &[("SHOPCTL_SERVER_PORT", "1"), ("SHOPCTL__SERVER_PORT", "1"), ("SHOPCTL_BIN", "x")]);
        assert_eq!(all.len(), 2, "{all:#?}");
        assert!(all.iter().all(|fault| fault.ends_with("did you mean SHOPCTL__SERVER__PORT?")), "{all:#?}");
    }

    #[test]
    fn a_variable_of_ours_that_is_no_text_is_a_fault() {
        use std::os::unix::ffi::OsStringExt;
        let bytes = |text: &[u8]| OsString::from_vec(text.to_vec());
        let vars = [
            (bytes(b"SHOPCTL__SERVER__HOST"), bytes(b"\xff\xfe")),
            (bytes(b"SERVER_PORT"), bytes(b"80\xff")),
            (bytes(b"LESSOPEN"), bytes(b"\xff")),
            (bytes(b"PATH"), bytes(b"/bin")),
        ];
        let (environment, unreadable) = read_environment(vars.into_iter());
        assert_eq!(environment.len(), 1);
        let sources = Sources { environment, unreadable, folder: "/nonexistent".into(), ..Sources::default() };
        let faults = load(&sources).unwrap_err().0;
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("SERVER_PORT (environment)"), "{faults:?}");
    }

    #[test]
    fn what_is_shown_is_a_file_that_says_the_same() {
        let texts = ["\u{1b}[31m red", "e\u{301}", "line\nfeed", "C:\\d", "a \"quoted\" word", "\u{7f}\u{9b}"];
        for text in texts {
            let shown = load(&sources("", &[], &[("server.host", text)]).0).unwrap().show(false);
            assert!(shown.lines().all(|line| !line.chars().any(char::is_control)), "{shown:?}");
            assert_eq!(loaded(&shown, &[], &[]).server.host, text);
        }
    }

    #[test]
    fn a_fault_is_one_line_whatever_it_quotes() {
        let toml = "[server]\nread_timeout = \"1\\n\\u001b[2Jall is well\"\n\"odd\\nkey\" = 1\n";
        let all = faults(toml, &[("SERVER_PORT", "80\n81")]);
        assert_eq!(all.len(), 3, "{all:#?}");
        assert!(all.iter().all(|fault| !fault.chars().any(char::is_control)), "{all:#?}");
        assert!(all.iter().any(|fault| fault.contains(r"80\u000a81")), "{all:#?}");
    }
}
