//! Log lines: JSON for machines or text for people, one line each whatever the values hold.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use env_filter::Filter;
use env_logger::{Builder, Logger, Target};
use log::kv::{Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use serde::Serializer;
use serde_json::Value as Json;

use crate::base::clock::Clock;
use crate::base::config::Logging;

/// Characters of one field: a log line names things, it does not carry them.
const VALUE_CHARS_MAX: usize = 1000;

/// The running log's filter, which may be replaced.
#[derive(Debug, Clone)]
pub struct Levels(Arc<RwLock<Filter>>);

impl Levels {
    fn of(level: &str) -> Result<Self, String> {
        Ok(Self(Arc::new(RwLock::new(filter_of(level)?))))
    }

    /// Logs by this filter from now on.
    ///
    /// # Errors
    /// A sentence when it is no filter; the present one stays.
    pub fn replace(&self, level: &str) -> Result<(), String> {
        let filter = filter_of(level)?;
        let most = filter.filter();
        // The filter is replaced as a whole, so it is whole also after a panic elsewhere.
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = filter;
        log::set_max_level(most);
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, Filter> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn filter_of(level: &str) -> Result<Filter, String> {
    let mut filter = env_filter::Builder::new();
    filter.try_parse(level).map_err(|e| format!("logging.level is '{level}': {e}"))?;
    Ok(filter.build())
}

/// Starts the log on the standard error; answers what its level can be changed with.
///
/// # Errors
/// A sentence when `[logging] level` is no filter.
pub fn init(logging: &Logging) -> Result<Levels, String> {
    let levels = Levels::of(&logging.level)?;
    let mut builder = Builder::new();
    // What is logged is decided by the levels alone.
    builder.filter_level(LevelFilter::Trace).target(Target::Stderr);
    let colour = std::io::stderr().is_terminal();
    if logging.json {
        builder.format(|out, record| writeln!(out, "{}", json_line(record)));
    } else {
        builder.format(move |out, record| writeln!(out, "{}", text_line(record, colour)));
    }
    log::set_max_level(levels.read().filter());
    log::set_boxed_logger(Box::new(Discreet { out: builder.build(), levels: levels.clone() }))
        .map_err(|e| e.to_string())?;
    Ok(levels)
}

/// A log that leaves out what libraries trace: bytes as they go over the wire, with tokens among them.
struct Discreet {
    out: Logger,
    levels: Levels,
}

impl Discreet {
    fn is_shown(metadata: &Metadata<'_>) -> bool {
        metadata.level() < Level::Trace || is_ours(metadata.target())
    }
}

impl Log for Discreet {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Self::is_shown(metadata) && self.levels.read().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if Self::is_shown(record.metadata()) && self.levels.read().matches(record) {
            self.out.log(record);
        }
    }

    fn flush(&self) {
        self.out.flush();
    }
}

fn is_ours(target: &str) -> bool {
    target == "shopctl" || target.starts_with("shopctl::")
}

fn rfc3339() -> String {
    let now = Clock::System.now().to_string();
    format!("{}T{}Z", &now[..10], &now[11..])
}

/// The line's own fields stand first, in this order; then those of the caller, each name once.
fn json_line(record: &Record<'_>) -> String {
    let mut line: Vec<(String, Json)> = vec![
        ("ts".to_owned(), rfc3339().into()),
        ("level".to_owned(), record.level().as_str().to_lowercase().into()),
        ("target".to_owned(), record.target().into()),
        ("msg".to_owned(), clean(&record.args().to_string()).into()),
    ];
    for (key, value) in fields(record) {
        if !line.iter().any(|(known, _)| *known == key) {
            line.push((key, value));
        }
    }
    let mut text = Vec::new();
    // Writing values of JSON into memory cannot fail.
    serde_json::Serializer::new(&mut text).collect_map(line).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

fn text_line(record: &Record<'_>, colour: bool) -> String {
    let level = match (colour, record.level()) {
        (true, log::Level::Error) => "\x1b[31mERROR\x1b[0m",
        (true, log::Level::Warn) => "\x1b[33mWARN \x1b[0m",
        (_, log::Level::Error) => "ERROR",
        (_, log::Level::Warn) => "WARN ",
        (_, log::Level::Info) => "INFO ",
        (_, log::Level::Debug) => "DEBUG",
        (_, log::Level::Trace) => "TRACE",
    };
    let mut line = format!("{} {level} {}", rfc3339(), clean(&record.args().to_string()));
    for (key, value) in fields(record) {
        let value = match value {
            Json::String(text) if text.contains([' ', '"', '=']) => format!("{text:?}"),
            Json::String(text) => text,
            other => other.to_string(),
        };
        line.push_str(&format!(" {key}={value}"));
    }
    line
}

/// Makes a text safe for one line of a log or a terminal: control characters and marks that turn the writing
/// direction are escaped, what is too long is cut.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for (count, c) in text.chars().enumerate() {
        if count >= VALUE_CHARS_MAX {
            clean.push('…');
            break;
        }
        match c {
            c if c.is_control() => clean.extend(c.escape_default()),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => {
                clean.extend(c.escape_unicode())
            }
            c => clean.push(c),
        }
    }
    clean
}

fn fields(record: &Record<'_>) -> Vec<(String, Json)> {
    struct Collect(Vec<(String, Json)>);
    impl<'kvs> VisitSource<'kvs> for Collect {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
            let json = match serde_json::to_value(&value) {
                Ok(Json::String(text)) => Json::String(clean(&text)),
                Ok(json) => json,
                Err(_) => Json::String(clean(&value.to_string())),
            };
            self.0.push((key.as_str().to_owned(), json));
            Ok(())
        }
    }
    let mut collect = Collect(Vec::new());
    // Collecting into memory cannot fail; whatever was collected is shown.
    record.key_values().visit(&mut collect).unwrap_or_default();
    collect.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libraries_trace_is_left_out_whatever_the_level() {
        let out = Builder::new().filter_level(LevelFilter::Trace).build();
        let log = Discreet { out, levels: Levels::of("TRACE").unwrap() };
        let enabled = |target: &str, level| log.enabled(&Metadata::builder().target(target).level(level).build());
        assert!(enabled("shopctl::pipeline", Level::Trace) && enabled("ureq::run", Level::Debug));
        assert!(!enabled("ureq_proto::util", Level::Trace) && !enabled("shopctl_other", Level::Trace));
    }

    #[test]
    fn a_level_is_replaced_while_the_log_runs_and_a_faulty_one_is_not() {
        let log = Discreet { out: Builder::new().build(), levels: Levels::of("INFO").unwrap() };
        let levels = log.levels.clone();
        let is_debug = || log.enabled(&Metadata::builder().target("shopctl").level(Level::Debug).build());
        assert!(!is_debug());
        levels.replace("shopctl=DEBUG").unwrap();
        assert!(is_debug());
        assert!(levels.replace("shop=loud").is_err() && is_debug());
    }

    fn record(line: fn(&Record<'_>) -> String) -> String {
        let values = [("file", "a\nb"), ("why", "x \u{1b}[31m")];
        let args = format_args!("text with\n{{\"level\":\"fake\"}}");
        line(&Record::builder().args(args).level(log::Level::Warn).target("t").key_values(&values).build())
    }

    #[test]
    fn a_value_never_begins_a_line_of_its_own() {
        for line in [json_line as fn(&Record<'_>) -> String, |record| text_line(record, false)] {
            let line = record(line);
            assert!(!line.chars().any(char::is_control), "{line}");
        }
        let json: Json = serde_json::from_str(&record(json_line)).unwrap();
        assert_eq!(json["level"], "warn");
        assert_eq!(json["file"], "a\\nb");
    }

    #[test]
    fn time_level_target_and_message_stand_first_and_no_name_twice() {
        let values = [("zone", "z"), ("file", "f"), ("level", "fake")];
        let args = format_args!("text");
        let line = json_line(&Record::builder().args(args).level(Level::Info).target("t").key_values(&values).build());
        let rest = line.split_once(r#","level""#).unwrap().1;
        assert!(line.starts_with(r#"{"ts":""#), "{line}");
        assert_eq!(rest, r#":"info","target":"t","msg":"text","zone":"z","file":"f"}"#);
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        assert!(init(&Logging { level: "shop=loud".to_owned(), json: true, is_plain: false }).is_err());
    }
}
