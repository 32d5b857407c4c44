//! The image and the compose stack, as far as files can be asked without an engine; `tests/e2e-compose` runs them.

mod compose;
mod image;

use std::collections::BTreeMap;
use std::path::Path;

/// The text of a file of the project.
fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The variables of `.env`.
fn variables() -> BTreeMap<String, String> {
    let text = file(".env");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}
