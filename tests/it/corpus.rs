//! What the fuzzers keep (`tests/fuzz/corpus`), through the same functions, without a fuzzer: whatever was found once is
//! tried on every run of the tests.

use std::path::Path;

#[path = "../fuzz/targets/event_line.rs"]
mod event_line;
#[path = "../fuzz/targets/http_bodies.rs"]
mod http_bodies;
#[path = "../fuzz/targets/settings.rs"]
mod settings;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "the corpus of {target} was not found");
    for input in inputs {
        // The name of the input goes before whatever the target says about it.
        println!("{}", input.display());
        run(&std::fs::read(&input).unwrap());
    }
}

#[test]
fn event_lines_of_the_corpus() {
    replay("event_line", event_line::run);
}

#[test]
fn bodies_of_the_corpus() {
    replay("http_bodies", http_bodies::run);
}

#[test]
fn settings_of_the_corpus() {
    replay("settings", settings::run);
}
