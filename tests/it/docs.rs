//! The documents say what the program does: transcripts are replayed, tables of codes are complete.
//!
//! After a change that is meant, `SHOPCTL_BLESS=1 cargo test --test it docs` writes the answers into the document.

mod commands;
mod habits;
mod links;
mod sections;
mod settings;

use std::collections::BTreeSet;
use std::path::Path;

use shopctl::pipeline::event::Reason;

use crate::api::process::{Apid, call};

/// One call of a transcript with what the document shows.
struct Call<'a> {
    line: &'a str,
    method: &'a str,
    path: &'a str,
    body: &'a str,
    shown: &'a str,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a person says so when the documents are to be written anew")]
pub(crate) fn is_blessed() -> bool {
    std::env::var_os("SHOPCTL_BLESS").is_some()
}

#[test]
fn the_transcripts_of_the_api_are_true() {
    replay("docs/pipeline-apid.md", "apid", 8082, 30);
}

#[test]
fn the_transcripts_of_the_services_are_true() {
    replay("docs/balance-daemon.md", "balance", 8083, 15);
    replay("docs/cache-service.md", "cache", 8084, 15);
}

/// Replays a document's transcripts against a fresh service; there must be some.
fn replay(name: &str, role: &str, port: u16, least: usize) {
    let text = read(name);
    let calls = transcripts(&text, port);
    assert!(calls.len() > least, "the transcripts were not found");
    let apid = Apid::start_role(role);
    let mut blessed = text.clone();
    for one in &calls {
        let answer = call(apid.addr(), one.method, one.path, &[], one.body);
        let has_body = one.shown.contains(' ');
        let body = if has_body { format!(" {}", answer.body) } else { String::new() };
        let got = format!("{}{body}", answer.status);
        if is_blessed() {
            // Each call keeps its place: the first one that is not answered yet is this one.
            let at = blessed.rfind(DONE).map_or(0, |at| at + DONE.len());
            let from = at + blessed[at..].find(one.line).unwrap() + one.line.len() + 1;
            let to = from + one.shown.len();
            blessed.replace_range(from..to, &format!("{}{DONE}", steady(&got)));
        } else {
            assert_eq!(steady(&got), steady(one.shown), "{}", one.line);
        }
    }
    if is_blessed() {
        std::fs::write(root().join(name), blessed.replace(DONE, "")).unwrap();
    }
}

/// Marks the answers that were written already.
const DONE: &str = "\u{0}";

fn transcripts(text: &str, port: u16) -> Vec<Call<'_>> {
    let base = format!("http://127.0.0.1:{port}");
    let mut calls = Vec::new();
    for block in text.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let mut lines = block.lines();
        while let Some(line) = lines.next() {
            let command = line.strip_prefix("$ curl -s ").unwrap_or_else(|| panic!("no command: {line}"));
            let url = command.rsplit(' ').next().unwrap().trim_matches('\'');
            let path = url.strip_prefix(base.as_str()).unwrap();
            let body = command.split_once("-d '").map_or("", |(_, rest)| rest.split('\'').next().unwrap());
            let method = command.split_once("-X ").map_or("GET", |(_, rest)| rest.split(' ').next().unwrap());
            calls.push(Call { line, method, path, body, shown: lines.next().unwrap() });
        }
    }
    calls
}

/// The text without what is another at every run: moments and request ids become those of the document.
fn steady(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let digits = |at: usize, form: &[u8], bytes: &[u8]| {
        let part = bytes.get(at..at + form.len());
        part.is_some_and(|part| {
            part.iter().zip(form).all(|(b, f)| if *f == b'0' { b.is_ascii_digit() } else { b == f })
        })
    };
    for (form, shown) in [
        (&b"0000-00-00T00:00:00Z"[..], &b"2025-01-01T00:00:05Z"[..]),
        (b"0000-00-00 00:00:00.000", b"2025-01-01 00:00:05.000"),
    ] {
        for at in 0..bytes.len() {
            if digits(at, form, &bytes) {
                bytes[at..at + form.len()].copy_from_slice(shown);
            }
        }
    }
    let mut text = String::from_utf8(bytes).unwrap();
    let mark = "\"request_id\":\"";
    if let Some(at) = text.find(mark).map(|at| at + mark.len()) {
        assert!(text[at..at + 32].bytes().all(|byte| byte.is_ascii_hexdigit()));
        text.replace_range(at..at + 32, "5f0c9a6e0d1b4c7a8e2f3b4d5c6a7988");
    }
    text
}

#[test]
fn every_code_is_explained() {
    let text = read("docs/errors.md");
    let explained: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let reasons = Reason::ALL.map(Reason::code);
    let refusals = arms_of_code(&read("src/pipeline/task/moves.rs"));
    assert!(refusals.len() >= 8, "{refusals:?}");
    let declined = arms_of_code(&read("src/pipeline/trade/refusal.rs"));
    assert!(declined.len() >= 4, "{declined:?}");
    let problems = problem_codes();
    assert!(problems.len() >= 10, "{problems:?}");
    for code in reasons.into_iter().map(str::to_owned).chain(refusals.clone()).chain(declined.clone()).chain(problems) {
        assert!(explained.contains(code.as_str()), "docs/errors.md does not explain {code}");
    }
    let api = read("docs/pipeline-apid.md");
    for code in refusals {
        assert!(api.contains(&format!("| `{code}` |")), "docs/pipeline-apid.md does not explain {code}");
    }
    let services = read("docs/balance-daemon.md") + &read("docs/cache-service.md");
    for code in declined {
        assert!(services.contains(&format!("| `{code}` |")), "no document of a service explains {code}");
    }
}

/// The codes in `match self { Self::A => "a", .. }` of the function `code`.
fn arms_of_code(source: &str) -> Vec<String> {
    let body = source.split("pub const fn code").nth(1).unwrap().split("\n    }\n").next().unwrap();
    let arms = body.lines().filter_map(|line| line.split_once("=> \"")?.1.split('"').next());
    arms.map(str::to_owned).collect()
}

/// The codes of all problems that are made anywhere: the first text after a status.
fn problem_codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for path in crate::imports::sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("StatusCode::").chain(text.match_indices("new(status, ")) {
            let rest = &text[at..text.len().min(at + 80)];
            let quoted = rest.split_once(", \"").and_then(|(before, rest)| {
                let plain = before.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_( ,".contains(&byte));
                plain.then(|| rest.split('"').next().unwrap_or_default())
            });
            codes.extend(
                quoted.filter(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')).map(str::to_owned),
            );
        }
    }
    codes
}

/// The classes of failures are explained, and the sections that messages name are there.
#[test]
fn every_class_of_failures_is_explained_and_has_its_section_in_the_runbook() {
    let (errors, runbook) = (read("docs/errors.md"), read("docs/runbook.md"));
    let headings = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    let anchors: BTreeSet<String> = headings.map(|title| title.to_lowercase().replace(' ', "-")).collect();
    for class in shopctl::pipeline::task::Class::ALL {
        assert!(errors.contains(&format!("`{}`", class.code())), "docs/errors.md does not explain {}", class.code());
        let anchor = class.runbook().strip_prefix("docs/runbook.md#").unwrap();
        assert!(anchors.contains(anchor), "docs/runbook.md has no section {anchor}");
    }
}
