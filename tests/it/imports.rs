//! The house rules that the sources can be asked about: arrows between modules, where SQL stands, how long files are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each folder of the first level may use of the others.
const LEVELS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("pipeline", &["base"]),
    ("hub", &["base"]),
    ("role", &["pipeline", "hub", "base"]),
    ("cli", &["role", "pipeline", "hub", "base"]),
    ("main", &["role", "pipeline", "hub", "base", "cli"]),
];

/// Arrows of the first level that still point up, by file: what is left of the time when there was one system. The list
/// only gets shorter; a file that is mended leaves it.
const UPWARD: &[(&str, &[&str])] = &[];

/// What each module of `base` may use of `base`, beside itself.
const BASE: &[(&str, &[&str])] = &[
    ("timestamp", &[]),
    ("shutdown", &[]),
    ("text", &[]),
    ("decimal", &[]),
    ("output", &[]),
    ("clock", &["timestamp"]),
    ("db", &["clock", "timestamp"]),
    ("backoff", &["shutdown"]),
    ("bell", &["db"]),
    ("bus", &["bell", "clock", "db", "timestamp"]),
    ("config", &[]),
    ("log_format", &["clock", "config"]),
    ("progress", &["config"]),
    ("http", &["clock", "config", "db", "shutdown"]),
    ("boot", &["clock", "config", "db", "http", "shutdown"]),
    ("reload", &["boot", "config", "log_format", "shutdown"]),
];

/// What each module of the pipeline may use of the pipeline, beside itself.
const PIPELINE: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("task", &["event"]),
    ("trade", &["task", "event"]),
    ("rules", &["trade", "task", "event"]),
    // The sections become types of tasks and events.
    ("settings", &["task", "event"]),
    ("calls", &["settings"]),
    // What columns of all stores stand for.
    ("columns", &["task", "event"]),
    // Rows of a return may be as long as trade says.
    ("schemas", &["trade"]),
    ("shard_db", &["schemas", "columns", "settings", "task", "event"]),
    ("files", &["shard_db", "rules", "task", "event"]),
    ("claim", &["apid", "calls", "files", "settings", "task", "event"]),
    ("addresses", &["calls", "claim", "files", "settings", "task", "event"]),
    ("boot", &["addresses", "calls", "claim", "files", "settings", "stage_metrics", "task", "event"]),
    ("health", &["task"]),
    ("stage_metrics", &[]),
    ("timed", &[]),
    ("apid", &["schemas", "columns", "calls", "timed", "health", "settings", "trade", "task", "event"]),
    ("balance", &["schemas", "columns", "calls", "timed", "health", "settings", "trade", "event"]),
    ("cache", &["schemas", "columns", "calls", "timed", "health", "settings", "trade", "task", "event"]),
    (
        "ingest",
        &["apid", "boot", "cache", "calls", "claim", "files", "settings", "stage_metrics", "trade", "task", "event"],
    ),
    ("split", &["claim", "files", "task", "event"]),
    (
        "work",
        &[
            "schemas", "columns", "apid", "balance", "boot", "cache", "calls", "claim", "files", "settings", "split",
            "shard_db", "rules", "trade", "task", "event",
        ],
    ),
    ("send", &["claim", "files", "shard_db", "split", "timed", "settings", "task", "event"]),
    (
        "ops",
        &[
            "schemas",
            "addresses",
            "rules",
            "apid",
            "balance",
            "cache",
            "calls",
            "claim",
            "files",
            "ingest",
            "shard_db",
            "split",
            "work",
            "trade",
            "settings",
            "task",
            "event",
        ],
    ),
];

/// Folders of `base` in which, or below which, modules may still go in a circle. The list only gets shorter.
const BASE_CIRCLES: &[&str] = &["base/config", "base/db"];

/// Lines of a file without its tests.
const LINES_MAX: usize = 500;
/// Lines of a file below `role/`: a role is wiring, and what it prints.
const ROLE_LINES_MAX: usize = 150;

/// All our source files.
pub(crate) fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 50, "the sources were not found");
    files
}

/// The Rust files under a folder, at any depth.
pub(crate) fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
}

/// The path below `src/`.
fn name(path: &Path) -> String {
    path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap().to_string_lossy().into_owned()
}

/// The folder of the first level of a file: `base` for `base/db/url.rs`.
fn level(name: &str) -> &str {
    name.split(['/', '.']).next().unwrap()
}

/// The module of the second level: `db` for `base/db/url.rs`.
fn module(name: &str) -> &str {
    name.split(['/', '.']).nth(1).unwrap()
}

/// Whether SQL may stand in a file: a connection to an engine, or the store of a subject.
fn is_store(name: &str) -> bool {
    let in_store = |part: &str| matches!(part.trim_end_matches(".rs"), "sqlite" | "mysql" | "sql");
    name.starts_with("base/db/")
        || name.starts_with("base/bus/log/")
        || name.starts_with("pipeline/work/state/")
        || (matches!(level(name), "pipeline" | "hub") && name.split('/').any(in_store))
}

/// The code of a file without comments and without its tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("/tests.rs")
}

/// The names behind `crate::` (in main.rs: behind `shopctl::`), those in braces included.
fn uses(code: &str, root: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices(root) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + root.len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => {
                let mut depth = 0;
                let flat: String = group
                    .chars()
                    .take_while(|c| {
                        depth += i32::from(*c == '{') - i32::from(*c == '}');
                        depth >= 0
                    })
                    .collect();
                flat.split(',').map(|name| name.trim().to_owned()).collect()
            }
            None => vec![rest.to_owned()],
        };
        for name in names {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            used.insert(name[..end].to_owned());
        }
    }
    used
}

/// What the code of a file names behind these roots, by `crate::` or over `super`.
fn names(path: &Path, name: &str, below: &str) -> BTreeSet<String> {
    let code = code(path);
    let mut used = uses(&code, &format!("crate::{below}"));
    let mut parts: Vec<&str> = name.trim_end_matches(".rs").split('/').collect();
    if parts.last() == Some(&"mod") {
        parts.pop();
    }
    // `super` of a file of the second level is the folder of the first.
    let depth = parts.len().saturating_sub(if below.is_empty() { 0 } else { 1 });
    if depth > 0 && (below.is_empty() || below.trim_end_matches("::") == parts[0]) {
        let root = "super::".repeat(depth);
        used.extend(uses(&code, &root).into_iter().filter(|used| used != "super"));
    }
    used
}

#[test]
fn arrows_between_the_levels_point_down() {
    let allowed: BTreeMap<&str, &[&str]> = LEVELS.iter().copied().collect();
    let mut upward: BTreeMap<&str, &[&str]> = UPWARD.iter().copied().collect();
    let mut wrong = Vec::new();
    for path in sources() {
        let name = name(&path);
        let own = level(&name);
        if matches!(own, "lib" | "build") || is_test(&name) {
            continue;
        }
        let Some(may) = allowed.get(own) else {
            wrong.push(format!("{name}: {own} has no arrows yet"));
            continue;
        };
        let used = if own == "main" { uses(&code(&path), "shopctl::") } else { names(&path, &name, "") };
        let up: Vec<&String> = used
            .iter()
            .filter(|used| allowed.contains_key(used.as_str()) && *used != own && !may.contains(&used.as_str()))
            .collect();
        let known = upward.remove(name.as_str()).unwrap_or_default();
        if up != known {
            wrong.push(format!("{name}: {own} must not use {up:?}; known are {known:?}"));
        }
    }
    assert!(wrong.is_empty() && upward.is_empty(), "{wrong:#?} {upward:?}");
}

#[test]
fn arrows_within_base_and_pipeline_are_those_of_the_document() {
    let mut wrong = Vec::new();
    for path in sources() {
        let name = name(&path);
        let arrows = match level(&name) {
            "base" => BASE,
            "pipeline" => PIPELINE,
            _ => continue,
        };
        if is_test(&name) || module(&name) == "mod" {
            continue;
        }
        let (own, known): (_, BTreeMap<&str, &[&str]>) = (module(&name), arrows.iter().copied().collect());
        let Some(may) = known.get(own) else {
            wrong.push(format!("{name}: the module {own} has no arrows yet"));
            continue;
        };
        for used in names(&path, &name, &format!("{}::", level(&name))) {
            if known.contains_key(used.as_str()) && used != own && !may.contains(&used.as_str()) {
                wrong.push(format!("{name}: {own} must not use {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn modules_of_the_pipeline_make_no_circle() {
    let to_owned = |used: &[&str]| used.iter().map(|used| (*used).to_owned()).collect();
    let arrows = PIPELINE.iter().map(|(module, used)| ((*module).to_owned(), to_owned(used))).collect();
    assert_eq!(circle(&arrows), None, "these modules use themselves over others");
}

/// The module paths that the code of a file names below this folder, over `crate::` or over `super`.
fn siblings(path: &Path, name: &str, folder: &str) -> BTreeSet<String> {
    let code = code(path);
    let mut used = uses(&code, &format!("crate::{}::", folder.replace('/', "::")));
    let own = name.trim_end_matches(".rs").trim_end_matches("/mod");
    let up = own.split('/').count() - folder.split('/').count();
    // A longer chain of `super` leads elsewhere: it is masked.
    let code = code.replace(&"super::".repeat(up + 1), "above::");
    used.extend(uses(&code, &"super::".repeat(up)));
    used
}

/// A circle among these arrows, if there is one.
fn circle(arrows: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    // What leads to no circle is put aside; what is left has an arrow to what is left.
    let mut left: BTreeSet<&String> = arrows.keys().collect();
    let leads_on = |own: &String, left: &BTreeSet<&String>| arrows[own].iter().any(|next| left.contains(next));
    while let Some(end) = left.iter().find(|own| !leads_on(own, &left)).copied() {
        left.remove(end);
    }
    let mut walk = vec![(*left.first()?).clone()];
    loop {
        let next = arrows[&walk[walk.len() - 1]].iter().find(|next| left.contains(next))?.clone();
        if let Some(at) = walk.iter().position(|known| *known == next) {
            return Some(walk.split_off(at));
        }
        walk.push(next);
    }
}

/// Two modules that need each other are one, or hide a third.
#[test]
fn modules_of_a_folder_go_in_no_circle() {
    let mut folders: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for path in sources() {
        let name = name(&path);
        if !matches!(level(&name), "base" | "pipeline") || is_test(&name) {
            continue;
        }
        let parts: Vec<&str> = name.trim_end_matches(".rs").split('/').collect();
        for depth in 1..parts.len() {
            let (folder, own) = (parts[..depth].join("/"), parts[depth]);
            if own != "mod" {
                let used = siblings(&path, &name, &folder);
                folders.entry(folder).or_default().entry(own.to_owned()).or_default().extend(used);
            }
        }
    }
    for (folder, arrows) in &mut folders {
        for (own, used) in arrows.iter_mut() {
            used.remove(own);
        }
        let is_known = BASE_CIRCLES
            .iter()
            .any(|known| folder.split_at_checked(known.len()).is_some_and(|(head, _)| head == *known));
        if !is_known {
            assert_eq!(circle(arrows), None, "the modules of {folder} go in a circle");
        }
    }
}

#[test]
fn roles_do_not_know_each_other() {
    // The settings of all systems are no role.
    let shared = ["daemon", "settings"];
    let mut wrong = Vec::new();
    for path in sources() {
        let name = name(&path);
        let Some(file) = name.strip_prefix("role/").filter(|file| *file != "mod.rs") else {
            continue;
        };
        let own = level(file);
        let code = code(&path);
        // In the file of a role itself `super` is `role`; in the files below it, `super` is the role.
        let mut others = uses(&code, "crate::role::");
        if !file.contains('/') {
            others.extend(uses(&code, "super::"));
        }
        for other in others.iter().filter(|other| *other != own && !shared.contains(&other.as_str())) {
            let policy =
                other == "apid" && matches!(own, "audit" | "trace") || (own, other.as_str()) == ("config", "up");
            // These know where everything listens.
            let knows_all = matches!(own, "up" | "healthcheck" | "doctor" | "status");
            if !knows_all && !policy && root_module(other) {
                wrong.push(format!("{name} uses the role {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether there is a role of this name.
fn root_module(name: &str) -> bool {
    let role = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/role");
    role.join(format!("{name}.rs")).exists()
}

#[test]
fn events_and_rules_are_pure() {
    let mut wrong = Vec::new();
    for path in sources() {
        let name = name(&path);
        if level(&name) == "pipeline" && matches!(module(&name), "event" | "task" | "trade" | "rules") {
            let code = code(&path);
            for word in ["rusqlite", "tokio", "axum", "hyper", "ureq", "std::fs", "SystemTime", "std::net", "std::env"]
            {
                if code.contains(word) {
                    wrong.push(format!("{name}: {word}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn sql_stands_in_the_store_only() {
    let mut wrong = Vec::new();
    for path in sources() {
        let name = name(&path);
        let code = code(&path);
        for verb in ["\"SELECT ", "\"INSERT ", "\"UPDATE ", "\"DELETE ", "\"CREATE TABLE", "\"BEGIN", "rusqlite::"] {
            if !is_store(&name) && code.contains(verb) {
                wrong.push(format!("{name}: {verb}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The guard goes by the route that a call matched. Whatever is mounted as a whole has none, and would pass it by.
#[test]
fn every_call_matches_a_route() {
    for path in sources() {
        let code = code(&path);
        for way in ["nest_service(", "fallback_service(", "route_service(", "MethodFilter"] {
            assert!(!code.contains(way), "{} uses {way}", name(&path));
        }
    }
}

/// Between the stages lie files that others may have put there: they are reached in one way only, which follows no link.
/// What looks at the machine around them (`doctor`) reads no file of the shared folder.
#[test]
fn files_of_the_shared_folder_are_reached_in_one_place() {
    let mut wrong = Vec::new();
    for path in sources() {
        let name = name(&path);
        // The file that a person names for an import is that person's, links and all.
        let allowed = match name.as_str() {
            "pipeline/files/no_follow.rs" => continue,
            // It is opened, and asked whether it is a folder, and whether its size is known.
            "pipeline/ingest/import.rs" => 3,
            // The name of this machine, and whether a process lives: no files of the shared folder.
            "pipeline/addresses/mod.rs" | "pipeline/addresses/note.rs" => 1,
            // Whether a worker's state is there; the state is a database, which is opened without following links.
            "pipeline/ops/audit/directory_check.rs" | "pipeline/ops/audit/state.rs" | "pipeline/work/start.rs" => 1,
            "pipeline/ops/rebuild/mod.rs" => 2,
            _ => 0,
        };
        let is_doctor = name.starts_with("pipeline/ops/doctor/");
        if level(&name) == "pipeline" && !is_test(&name) && !is_doctor {
            let code = code(&path);
            let ways = [
                "File::open(",
                "File::create",
                "OpenOptions",
                "std::fs::read",
                "std::fs::write",
                "std::fs::meta",
                "std::fs::symlink_meta",
                "std::fs::remove",
                "std::fs::create",
                "std::fs::rename",
                "std::fs::copy",
                ".exists()",
                ".is_dir()",
                ".is_file()",
            ];
            let count: usize = ways.iter().map(|way| code.matches(way).count()).sum();
            if count != allowed {
                wrong.push(format!("{name}: {count} ways to a file instead of {allowed}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_say_what_they_are_and_end_in_time() {
    let mut wrong = Vec::new();
    for path in sources() {
        let name = name(&path);
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.starts_with("//! ") {
            wrong.push(format!("{name} does not begin with //!"));
        }
        let lines = text.split("#[cfg(test)]\nmod tests {").next().unwrap().lines().count();
        let most = match level(&name) {
            "main" => 99,
            "role" => ROLE_LINES_MAX,
            _ => LINES_MAX,
        };
        if lines > most {
            wrong.push(format!("{name} has {lines} lines without its tests, {most} are allowed"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
