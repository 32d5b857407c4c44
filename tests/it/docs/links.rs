//! Every link in the documents leads somewhere, and so does every document that the sources name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::{read, root};

/// Where documents are.
const PAGES: [&str; 6] = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "tests"];

/// What the sources, the tests and the files of the containers say to people.
const NAMING: [&str; 9] =
    ["src", "tests", "benches", "docker", "docker-compose.yml", ".env", "Dockerfile", "Makefile", "justfile"];

/// The anchors that messages of the program may name.
const SYMPTOMS: [&str; 18] = [
    "stuck-worker",
    "failed-task",
    "corrupt-file",
    "missing-file",
    "disk-full",
    "database-away",
    "database-read-only",
    "api-away",
    "service-away",
    "token-refused",
    "lost-state",
    "audit-difference",
    "pending-returns",
    "rejected-lines",
    "port-taken",
    "clock-differs",
    "restore-backup",
    "settings-refused",
];

/// Lines of a symptom in the runbook: a screen of a terminal.
const SCREEN_LINES: usize = 50;

/// A document: its headings' ids, and where it links to.
struct Page {
    ids: BTreeSet<String>,
    links: Vec<String>,
}

#[test]
fn every_link_resolves() {
    let pages: BTreeMap<PathBuf, Page> = files(&PAGES, &["md"]).map(|path| (path.clone(), page(&path))).collect();
    assert!(pages.len() >= 10, "the documents were not found");
    let mut wrong = Vec::new();
    for (path, page) in &pages {
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { clean(&path.parent().unwrap().join(file)) };
            let is_known = |page: &Page| anchor.is_empty() || page.ids.contains(anchor);
            if !pages.get(&target).map_or_else(|| anchor.is_empty() && target.exists(), is_known) {
                wrong.push(format!("{} links to {link}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn every_document_that_is_named_is_there() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in files(&NAMING, &["rs", "toml", "yml", "env", "sh", ""]) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (at, _) in text.match_indices("docs/") {
            let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._#/".contains(c);
            let name: &str = text[at..].split(|c| !is_name(c)).next().unwrap().trim_end_matches(['.', '#']);
            let (file, anchor) = name.split_once('#').unwrap_or((name, ""));
            if !file.ends_with(".md") || text[..at].ends_with('/') {
                continue;
            }
            count += 1;
            let target = root().join(file);
            if !target.exists() || !(anchor.is_empty() || page(&target).ids.contains(anchor)) {
                wrong.push(format!("{} names {name}", path.display()));
            }
        }
    }
    assert!(count > 10, "the names of documents were not found");
    assert!(wrong.is_empty(), "documents are named that are not there:\n{}", wrong.join("\n"));
}

#[test]
fn the_runbook_has_a_screen_for_every_symptom() {
    let text = read("docs/runbook.md");
    let (screens, _) = text.split_once("\n# ").expect("the long procedures follow the symptoms");
    let mut parts = screens.split("\n## ");
    let table = parts.next().unwrap();
    let mut seen = Vec::new();
    for part in parts {
        let id = id_of(part.lines().next().unwrap());
        assert!(table.contains(&format!("(#{id})")), "the table of symptoms does not lead to {id}");
        let commands = part.find("```text").unwrap_or_else(|| panic!("{id} has no commands"));
        assert!(commands < part.find("\n|").unwrap_or(part.len()), "{id} explains before it says what to type");
        assert!(part.lines().count() <= SCREEN_LINES, "{id} is longer than a screen");
        seen.push(id);
    }
    assert_eq!(seen, SYMPTOMS);
}

/// Files of these folders, and these files, with one of these extensions.
fn files(names: &[&str], extensions: &[&str]) -> impl Iterator<Item = PathBuf> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = names.iter().map(|name| root().join(name)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if extensions.contains(&path.extension().unwrap_or_default().to_str().unwrap()) {
            found.push(path);
        }
    }
    found.into_iter()
}

fn page(path: &Path) -> Page {
    let text = std::fs::read_to_string(path).unwrap();
    let mut page = Page { ids: BTreeSet::new(), links: Vec::new() };
    let mut heading = None;
    let mut times: HashMap<String, usize> = HashMap::new();
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let id = id_of(&heading.take().unwrap());
                let before = times.entry(id.clone()).or_default();
                page.ids.insert(if *before == 0 { id } else { format!("{id}-{before}") });
                *before += 1;
            }
            Event::Start(Tag::Link { dest_url, .. }) => page.links.push(dest_url.into_string()),
            _ => {}
        }
    }
    page
}

/// The id that GitHub gives to a heading.
fn id_of(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The path without its `..`.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        if part == std::path::Component::ParentDir {
            clean.pop();
        } else {
            clean.push(part);
        }
    }
    clean
}
