//! The list of faults that `tests/mutants` makes on purpose: each of them still applies, exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

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

/// A filter that meets no test runs none, and the mutant looks caught by nothing: the last part of each has to be the
/// name of a module or the beginning of a function's.
#[test]
fn every_mutant_names_tests_that_there_are() {
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        collect(&root().join(folder), &mut files);
    }
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let mut missing = Vec::new();
    for Mutant { name, tests, .. } in list() {
        for test in tests {
            let last = test.split([' ', ':']).rfind(|part| !part.is_empty()).unwrap_or_default();
            let is_there = [format!("fn {last}"), format!("mod {last};"), format!("mod {last} {{")];
            if !is_there.iter().any(|form| text.contains(form)) {
                missing.push(format!("{name}: {test}"));
            }
        }
    }
    assert!(missing.is_empty(), "mend tests/mutants.toml, there are no such tests:\n{}", missing.join("\n"));
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
