//! Log lines: JSON for machines or text for people, one line each whatever the values hold.

use std::io::{IsTerminal, Write};

use env_logger::{Builder, Logger, Target};
use log::kv::{Key, Value, VisitSource};
use log::{Level, Log, Metadata, Record};
use serde_json::{Map, Value as Json};

use crate::clock::Clock;
use crate::config::Logging;

/// Characters of one field: a log line names things, it does not carry them.
const VALUE_CHARS_MAX: usize = 1000;

/// Starts the log on the standard error.
///
/// # Errors
/// A sentence when `[logging] level` is no filter.
pub fn init(logging: &Logging) -> Result<(), String> {
    let mut filter = env_filter::Builder::new();
    filter.try_parse(&logging.level).map_err(|e| format!("logging.level is '{}': {e}", logging.level))?;
    let mut builder = Builder::new();
    builder.parse_filters(&logging.level).target(Target::Stderr);
    let colour = std::io::stderr().is_terminal();
    if logging.json {
        builder.format(|out, record| writeln!(out, "{}", json_line(record)));
    } else {
        builder.format(move |out, record| writeln!(out, "{}", text_line(record, colour)));
    }
    let logger = builder.build();
    log::set_max_level(logger.filter());
    log::set_boxed_logger(Box::new(Discreet(logger))).map_err(|e| e.to_string())
}

/// A log that leaves out what libraries trace: bytes as they go over the wire, with tokens among them.
struct Discreet(Logger);

impl Log for Discreet {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        (metadata.level() < Level::Trace || is_ours(metadata.target())) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

fn is_ours(target: &str) -> bool {
    target == "shopctl" || target.starts_with("shopctl::")
}

fn rfc3339() -> String {
    let now = Clock::System.now().to_string();
    format!("{}T{}Z", &now[..10], &now[11..])
}

fn json_line(record: &Record<'_>) -> String {
    let mut line = Map::new();
    line.insert("ts".to_owned(), rfc3339().into());
    line.insert("level".to_owned(), record.level().as_str().to_lowercase().into());
    line.insert("target".to_owned(), record.target().into());
    line.insert("msg".to_owned(), clean(&record.args().to_string()).into());
    for (key, value) in fields(record) {
        line.entry(key).or_insert(value);
    }
    Json::Object(line).to_string()
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
        let log = Discreet(Builder::new().filter_level(log::LevelFilter::Trace).build());
        let enabled = |target: &str, level| log.enabled(&Metadata::builder().target(target).level(level).build());
        assert!(enabled("shopctl::pipeline", Level::Trace) && enabled("ureq::run", Level::Debug));
        assert!(!enabled("ureq_proto::util", Level::Trace) && !enabled("shopctl_other", Level::Trace));
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
    fn a_level_that_is_none_is_refused() {
        assert!(init(&Logging { level: "shop=loud".to_owned(), json: true, is_plain: false }).is_err());
    }
}
