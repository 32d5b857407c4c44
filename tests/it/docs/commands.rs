//! The commands that the documents tell people to type are commands of the program; the annotated event is an event.

use clap::Parser;
use shopctl::cli::Cli;
use shopctl::pipeline::event::{Event, Payload};

use super::read;

/// What stands for a value that the reader puts in, and one that the program takes.
const PLACES: [(&str, &str); 7] = [
    ("FILE:LINE", "20251015172520:17"),
    ("FILENAME", "20251015172520"),
    ("FILE", "20251015172520"),
    ("ORDER", "4711"),
    ("server.port=N", "server.port=1"),
    ("N", "0"),
    ("section.key=value", "server.port=1"),
];

#[test]
fn the_documents_name_commands_that_there_are() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for name in documents() {
        for line in read(&name).split("```").skip(1).step_by(2).flat_map(str::lines) {
            let Some(words) = command(line) else { continue };
            count += 1;
            if let Err(error) = Cli::try_parse_from(&words) {
                wrong.push(format!("{name}: {line}\n  {}", error.to_string().lines().next().unwrap_or_default()));
            }
        }
    }
    assert!(count > 60, "the commands were not found");
    assert!(wrong.is_empty(), "the program does not know:\n{}", wrong.join("\n"));
}

/// What stands beside the sources, and all of `docs/`.
fn documents() -> Vec<String> {
    let entries = std::fs::read_dir(super::root().join("docs")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut all: Vec<String> = names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    all.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned));
    all.sort();
    all
}

/// The words of a call of the program, itself or as the operator of the containers; a remark follows after two blanks.
fn command(line: &str) -> Option<Vec<String>> {
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let line =
        line.strip_prefix("cargo run --release -- ").map_or_else(|| line.to_owned(), |rest| format!("shopctl {rest}"));
    let line = line.replacen("docker compose run --rm operator ", "shopctl ", 1);
    let call = line.strip_prefix("shopctl ").filter(|call| !call.starts_with(|c: char| c.is_ascii_digit()))?;
    let call =
        call.split("  ").next().unwrap().split(['#', '>', '<', '|']).next().unwrap().trim().trim_end_matches('&');
    let mut words = vec!["shopctl".to_owned()];
    let mut quoted = call.split('\'');
    while let Some(plain) = quoted.next() {
        words.extend(plain.split_whitespace().map(filled));
        words.extend(quoted.next().map(str::to_owned));
    }
    Some(words)
}

fn filled(word: &str) -> String {
    PLACES.iter().find(|(place, _)| *place == word).map_or(word, |(_, value)| value).to_owned()
}

#[test]
fn the_annotated_event_is_an_event() {
    let readme = read("README.md");
    let block = readme.split("```jsonc\n").nth(1).expect("the README shows an event").split("```").next().unwrap();
    let line: String = block.lines().map(|line| line.split("//").next().unwrap().trim()).collect();
    let event = Event::parse(line.as_bytes()).unwrap_or_else(|reject| panic!("{reject:?}: {line}"));
    assert!(matches!(event.payload, Payload::Purchase { order_id: 4711, shop_id: 3, .. }), "{line}");
}
