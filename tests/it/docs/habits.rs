//! The habits of the project: what contributors are told of is there, decisions are listed, jobs end in time.

use pulldown_cmark::{Event, Options, Parser};

use super::{read, root};

/// Words of one decision.
const WORDS_MAX: usize = 250;
/// Where what begins so is a path of the project.
const FOLDERS: [&str; 7] = ["src/", "tests/", "docs/", "db/", "docker/", ".github/", ".ci/"];

/// The names of a folder's files.
fn names(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The decisions, in their order.
fn decisions() -> Vec<String> {
    names("docs/adr").into_iter().filter(|name| name != "README.md").collect()
}

/// What stands in a page as code.
fn spans(text: &str) -> impl Iterator<Item = String> {
    Parser::new_ext(text, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Code(code) => Some(code.into_string()),
        _ => None,
    })
}

fn is_path(span: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "./_-".contains(c);
    FOLDERS.iter().any(|folder| span.starts_with(folder)) && span.chars().all(is_plain)
}

#[test]
fn the_files_that_contributors_are_told_of_are_there() {
    let mut pages = ["CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned).to_vec();
    pages.extend(decisions().into_iter().map(|name| format!("docs/adr/{name}")));
    let mut count = 0;
    let mut wrong = Vec::new();
    for page in pages {
        for span in spans(&read(&page)).filter(|span| is_path(span)) {
            count += 1;
            if !root().join(&span).exists() {
                wrong.push(format!("{page} names {span}"));
            }
        }
    }
    assert!(count > 50, "the names of files were not found");
    assert!(wrong.is_empty(), "files are named that are not there:\n{}", wrong.join("\n"));
}

#[test]
fn decisions_are_numbered_short_and_listed() {
    let list = read("docs/adr/README.md");
    for (name, number) in decisions().iter().zip(1..) {
        let text = read(&format!("docs/adr/{name}"));
        let title = text.lines().next().unwrap();
        let title = title.strip_prefix(&format!("# {number}. ")).unwrap_or_else(|| panic!("{name}: {title}"));
        assert!(name.starts_with(&format!("{number:04}-")), "{name}");
        assert!(
            list.contains(&format!("| {number} | [{title}]({name}) | 20")),
            "docs/adr/README.md does not list {name}"
        );
        let parts: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(parts, ["Context", "Decision", "Consequences"], "{name}");
        let words = text.split_whitespace().count();
        assert!(words <= WORDS_MAX, "{name} has {words} words");
    }
}

#[test]
fn jobs_end_in_time_and_use_actions_by_tag() {
    let names = names(".github/workflows");
    assert!(names.len() >= 3, "the workflows were not found");
    for name in names {
        let text = read(&format!(".github/workflows/{name}"));
        let lines = || text.lines().map(|line| line.trim().trim_start_matches("- "));
        let count = |key: &str| lines().filter(|line| line.starts_with(key)).count();
        assert_eq!(count("runs-on: "), count("timeout-minutes: "), "{name}: a job has no limit of time");
        assert!(text.contains("\npermissions:\n  contents: read\n"), "{name} may more than read by default");
        for action in lines().filter_map(|line| line.strip_prefix("uses: ")) {
            assert!(action.starts_with("./") || action.contains("@v"), "{name}: {action} has no tag");
        }
    }
}

/// The image has a test of its own.
#[test]
fn the_pinned_compiler_is_the_one_of_the_manifest() {
    let channel = format!("channel = \"{}.", env!("CARGO_PKG_RUST_VERSION"));
    assert!(read("rust-toolchain.toml").contains(&channel), "rust-toolchain.toml has no {channel}");
    assert!(read("README.md").contains(&format!("Rust {}", env!("CARGO_PKG_RUST_VERSION"))));
}
