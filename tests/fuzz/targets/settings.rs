//! Settings of any text: a file, then after a line `---` the environment, then after another one flags, one
//! `NAME=VALUE` a line.

use std::path::Path;
use std::sync::OnceLock;

use shopctl::base::config::Sources;
use shopctl::base::config::load::load;
use shopctl::role::settings::Settings;

const BYTES_MAX: usize = 64 * 1024;

/// Runs one input.
pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if data.len() > BYTES_MAX {
        return;
    }
    let mut parts = text.split("\n---\n");
    let (file, environment, flags) = (parts.next(), parts.next(), parts.next());
    write(file.unwrap_or_default());
    let sources = Sources {
        environment: pairs(environment).collect(),
        flags: pairs(flags).collect(),
        folder: folder().to_owned(),
        ..Sources::default()
    };
    match load::<Settings>(&sources) {
        Ok(loaded) => {
            let shown = loaded.show(false);
            assert!(loaded.show(true).lines().count() == shown.lines().count(), "an origin is no line of its own");
            if !shown.contains(":***@") {
                shown_is_a_file(&shown, &sources);
            }
        }
        Err(faults) => {
            assert!(!faults.0.is_empty(), "refused without a reason");
            for fault in &faults.0 {
                assert!(
                    !fault.is_empty() && !fault.chars().any(char::is_control),
                    "no sentence of one line: {fault:?}"
                );
            }
        }
    }
}

/// What `config show` prints is a settings file that says the same.
fn shown_is_a_file(shown: &str, sources: &Sources) {
    write(shown);
    let profile = sources.environment.get("SHOPCTL_PROFILE").map(|name| ("SHOPCTL_PROFILE".to_owned(), name.clone()));
    let again = Sources { environment: profile.into_iter().collect(), flags: Vec::new(), ..sources.clone() };
    match load::<Settings>(&again) {
        Ok(again) => assert_eq!(again.show(false), shown),
        Err(faults) => panic!("what is shown cannot be read: {faults}\n{shown}"),
    }
}

fn pairs(text: Option<&str>) -> impl Iterator<Item = (String, String)> + '_ {
    let lines = text.unwrap_or_default().lines();
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// One folder for all inputs: settings are read from a file.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("there is room for a folder")).path()
}

fn write(text: &str) {
    std::fs::write(folder().join("shopctl.toml"), text).expect("there is room for a file");
}
