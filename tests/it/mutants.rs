//! The list of faults that `tests/mutants` makes on purpose: each of them still applies, exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::imports::collect;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Mutant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    name: String,
    tests: Vec<String>,
    edits: Vec<Edit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    file: String,
    search: String,
    replace: String,
}

fn list() -> Vec<Mutant> {
    let text = std::fs::read_to_string(root().join("tests/mutants.toml")).unwrap();
    let source = ::config::File::from_str(&text, ::config::FileFormat::Toml);
    ::config::Config::builder().add_source(source).build().unwrap().try_deserialize::<List>().unwrap().mutant
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_mutant_applies_exactly_once() {
    let mut wrong = Vec::new();
    for Mutant { name, edits, .. } in list() {
        let mut files = BTreeMap::<String, String>::new();
        for Edit { file, search, replace } in edits {
            let read = || std::fs::read_to_string(root().join(&file)).unwrap_or_default();
            let text = files.entry(file.clone()).or_insert_with(read);
            let found = text.matches(&search).count();
            if found != 1 || search == replace {
                wrong.push(format!("{name}: {file} has this {found} times: {search}"));
            }
            *text = text.replacen(&search, &replace, 1);
        }
    }
    assert!(wrong.is_empty(), "mend tests/mutants.toml:\n{}", wrong.join("\n"));
}

/// A filter that meets no test runs none, and the mutant looks caught by nothing.
#[test]
fn every_mutant_names_tests_that_there_are() {
    let known = BTreeMap::from([("lib", unit_tests()), ("it", own_tests())]);
    let mut missing = Vec::new();
    for Mutant { name, tests, .. } in list() {
        for test in tests {
            let (target, filter) = test.split_once(' ').unwrap();
            if !known[target].iter().any(|path| path.contains(filter)) {
                missing.push(format!("{name}: {test}"));
            }
        }
    }
    assert!(missing.is_empty(), "mend tests/mutants.toml, there are no such tests:\n{}", missing.join("\n"));
}

/// The integration tests: this binary knows them.
fn own_tests() -> Vec<String> {
    let listed = Command::new(std::env::current_exe().unwrap()).args(["--list", "--format", "terse"]).output().unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// What unit tests may be called: every function of a module, as it is and in the module's `tests`.
fn unit_tests() -> Vec<String> {
    let (src, mut files) = (root().join("src"), Vec::new());
    collect(&src, &mut files);
    let mut paths = Vec::new();
    for file in files {
        let module = file.strip_prefix(&src).unwrap().with_extension("").to_string_lossy().replace('/', "::");
        let module = module.strip_suffix("::mod").unwrap_or(&module);
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            if let Some((_, name)) = line.split_once("fn ") {
                let name = name.split(['(', '<']).next().unwrap();
                paths.extend([format!("{module}::{name}"), format!("{module}::tests::{name}")]);
            }
        }
    }
    assert!(paths.len() > 1000, "the functions were not found");
    paths
}

#[test]
fn every_mutant_has_a_name_of_its_own_and_a_test() {
    let all = list();
    assert!(all.len() >= 36, "{} mutants", all.len());
    let names: BTreeSet<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
    assert_eq!(names.len(), all.len());
    for Mutant { name, tests, .. } in &all {
        let is_named = |test: &String| test.split_once(' ').is_some_and(|(target, _)| ["lib", "it"].contains(&target));
        assert!(!tests.is_empty() && tests.iter().all(is_named), "{name}: {tests:?}");
    }
}
