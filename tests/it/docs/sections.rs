//! Comments name sections of two documents by number: each of them is there, and no other document is meant.

use std::path::PathBuf;

use super::{read, root};

/// The documents of `docs/` whose sections have numbers.
const NUMBERED: [&str; 2] = ["contracts", "semantics"];

/// Words that would name a section of no document that is here, if a number followed.
const BARE: [&str; 4] = ["contracts", "semantics", "failures", "conventions"];

#[test]
fn every_section_that_is_named_is_there() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for document in NUMBERED.map(|name| format!("docs/{name}.md")) {
        let sections = sections(&read(&document));
        assert!(sections.len() >= 6, "{document}: the sections were not found");
        let is_counted = (1_u32..).zip(&sections).all(|(expected, number)| expected == *number);
        assert!(is_counted, "{document}: the sections are not counted from 1: {sections:?}");
        for (path, text) in sources() {
            for after in text.split(document.as_str()).skip(1) {
                count += 1;
                let named = numbers(after);
                if named.is_empty() || named.iter().any(|number| !sections.contains(number)) {
                    let rest = after.lines().next().unwrap_or_default();
                    wrong.push(format!("{} names {document}{rest}", path.display()));
                }
            }
        }
    }
    assert!(count > 50, "the names of sections were not found");
    assert!(wrong.is_empty(), "sections are named that are not there:\n{}", wrong.join("\n"));
}

#[test]
fn no_section_is_named_without_its_document() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        for (number, line) in (1_usize..).zip(text.lines()) {
            if is_bare(line) {
                wrong.push(format!("{}:{number}: {line}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "sections are named without their document:\n{}", wrong.join("\n"));
}

/// The numbers of a document's sections, in the order in which they stand.
fn sections(text: &str) -> Vec<u32> {
    let headings = text.lines().filter_map(|line| line.strip_prefix("## "));
    headings.filter_map(|heading| heading.split_once(". ")?.0.parse::<u32>().ok()).collect()
}

/// The numbers behind the name of a document: 4 and 6 of `, 4 and 6; more`. None where something else follows.
fn numbers(after: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for part in after.strip_prefix(", ").unwrap_or_default().split(" and ") {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let Ok(number) = part[..end].parse::<u32>() else { break };
        numbers.push(number);
        if end < part.len() {
            break;
        }
    }
    numbers
}

/// Whether one of the words stands in the line with a number behind it, or a document's name with a bracket before it.
fn is_bare(line: &str) -> bool {
    let has_number = |word: &&str| {
        line.split(*word)
            .skip(1)
            .any(|after| after.strip_prefix(' ').is_some_and(|after| after.starts_with(|c: char| c.is_ascii_digit())))
    };
    BARE.iter().any(has_number) || NUMBERED.iter().any(|name| line.contains(&format!("({name}")))
}

/// Our sources and tests, with their texts.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        crate::imports::collect(&root().join(folder), &mut files);
    }
    files.into_iter().map(|path| (path.clone(), std::fs::read_to_string(&path).unwrap())).collect()
}
