//! The command line and the settings, as a person at a terminal meets them.
//!
//! After a change that is meant, `SHOPCTL_BLESS=1 cargo test --test it config` writes the help texts anew.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use shopctl::base::config::{Profile, Sections};
use shopctl::role::settings::Settings;

use crate::docs::is_blessed;

/// Every subcommand that has a help text; the first is the program itself.
const HELPS: &[&[&str]] = &[
    &[],
    &["up"],
    &["ingest"],
    &["apid"],
    &["balance"],
    &["cache"],
    &["split"],
    &["work"],
    &["send"],
    &["hub"],
    &["hub-metrics"],
    &["status"],
    &["audit"],
    &["rejects"],
    &["rejects", "list"],
    &["rejects", "show"],
    &["rejects", "redrive"],
    &["trace"],
    &["retry"],
    &["migrate"],
    &["backup"],
    &["restore"],
    &["doctor"],
    &["healthcheck"],
    &["config"],
    &["config", "show"],
    &["config", "check"],
    &["config", "default"],
    &["completions"],
    &["man"],
];

/// The program with these arguments in a folder, and nothing of our environment.
fn shopctl(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shopctl"));
    command.env_clear().current_dir(folder).args(args);
    command
}

fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn golden(args: &[&str]) -> PathBuf {
    let name = if args.is_empty() { "shopctl".to_owned() } else { args.join("-") };
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/help/{name}.txt"))
}

#[test]
fn the_help_texts_are_those_that_were_agreed_on() {
    let folder = tempfile::tempdir().unwrap();
    for args in HELPS {
        let args: Vec<&str> = args.to_vec();
        let with_help: Vec<&str> = args.iter().copied().chain(["--help"]).collect();
        let text = stdout(&mut shopctl(folder.path(), &with_help));
        let path = golden(&args);
        if is_blessed() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{}", path.display());
    }
}

#[test]
fn every_subcommand_has_a_help_text_here() {
    let folder = tempfile::tempdir().unwrap();
    let text = stdout(&mut shopctl(folder.path(), &["--help"]));
    let commands = text.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for line in commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let name = line.split_whitespace().next().unwrap();
        assert!(name == "help" || HELPS.contains(&[name].as_slice()), "{name} is missing in HELPS");
    }
}

#[test]
fn the_version_names_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    let text = stdout(&mut shopctl(folder.path(), &["--version"]));
    let commit = text.strip_prefix("shopctl 0.1.0 (").and_then(|rest| rest.strip_suffix(")\n"));
    let commit = commit.unwrap_or_else(|| panic!("{text:?}"));
    assert!(commit == "unknown" || commit.len() >= 7 && commit.bytes().all(|b| b.is_ascii_hexdigit()), "{text:?}");
}

#[test]
fn bad_usage_ends_with_64() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["juggle"][..], &[], &["apid", "--wrong"], &["config"], &["config", "show", "--set", "nothing"]] {
        let output = shopctl(folder.path(), args).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}: {output:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was touched");
}

#[test]
fn the_default_settings_are_a_settings_file() {
    let folder = tempfile::tempdir().unwrap();
    let text = stdout(&mut shopctl(folder.path(), &["config", "default"]));
    let (schema, of_up) = (Settings::schema(), shopctl::role::up::Args::default().defaults());
    assert_eq!(text, schema.sample(Profile::Local, &of_up));
    let container = stdout(shopctl(folder.path(), &["config", "default"]).env("SHOPCTL_PROFILE", "container"));
    assert_eq!(container, schema.sample(Profile::Container, &of_up));
    std::fs::write(folder.path().join("shopctl.toml"), &text).unwrap();
    assert_eq!(stdout(&mut shopctl(folder.path(), &["config", "check"])), "the settings are right\n");
    for key in schema.keys() {
        let name = key.path.split('.').nth(1).unwrap();
        assert!(text.contains(&format!("# {}\n", key.doc)), "{} is not explained", key.path);
        assert!(text.contains(&format!("\n#{name} =")), "{}", key.path);
    }
}

/// As a new user makes it, and as it stands for every role: with the file and without it all values are the same.
#[test]
fn a_settings_file_of_the_defaults_changes_nothing() {
    for profile in ["local", "container"] {
        let (with, without) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let run = |folder: &Path, args: &[&str]| stdout(shopctl(folder, args).env("SHOPCTL_PROFILE", profile));
        std::fs::write(with.path().join("shopctl.toml"), run(with.path(), &["config", "default"])).unwrap();
        let show = ["config", "show", "--origin"];
        assert_eq!(run(with.path(), &show), run(without.path(), &show));
    }
}

/// What was meant is said at once, by every command.
#[test]
fn a_variable_of_ours_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["config", "check"][..], &["status"], &["up"]] {
        let output = shopctl(folder.path(), args).env("SHOPCTL_SERVER_PORT", "1").output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{args:?}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains("SHOPCTL_SERVER_PORT (environment) is no setting; did you mean SHOPCTL__SERVER__PORT?"),
            "{text}"
        );
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was touched");
}

#[test]
fn all_faults_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "[server]\nprot = 1\nhost = 7\n[events]\nmalformed_rate = 2.0\n[pipeline]\nshards_count = 200\n";
    std::fs::write(folder.path().join("own.toml"), toml).unwrap();
    let mut command =
        shopctl(folder.path(), &["config", "check", "--config", "own.toml", "--set", "auth.insecure=maybe"]);
    let output = command.env("SERVER_PORT", "http").output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    let faults: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(faults.len(), 6, "{text}");
    for part in [
        "server.prot (file own.toml) is no setting; did you mean server.port?",
        "server.host (file own.toml): a text in quotes is expected",
        "events.malformed_rate (file own.toml) is '2': a number from 0 to 1 is expected",
        "pipeline.shards_count (file own.toml) is '200': a whole number from 1 to 128 is expected",
        "server.port (environment SERVER_PORT) is 'http': a whole number from 0 to 65535 is expected",
        "auth.insecure (flag) is 'maybe': true or false is expected",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // A role does not start with them either.
    let output = shopctl(folder.path(), &["apid", "--config", "own.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn every_value_tells_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shopctl.toml"), "[pipeline]\nshards_count = 3\nlease_ms = 500\n").unwrap();
    let args = ["config", "show", "--origin", "--set", "pipeline.lease_ms=700"];
    let mut command = shopctl(folder.path(), &args);
    let text = stdout(command.env("SERVER_PORT", "9082").env("SHOPCTL__WORKER__KEY_RETENTION_DAYS", "7"));
    for line in [
        "port = 9082  # environment SERVER_PORT",
        "shards_count = 3  # file ./shopctl.toml",
        "lease_ms = 700  # flag",
        "key_retention_days = 7  # environment",
        "backoff_ms = 1000  # default",
        "host = \"127.0.0.1\"  # default",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    }
    let plain = stdout(&mut shopctl(folder.path(), &["config", "show"]));
    assert!(!plain.contains('#'));
    let (from, to) = (folder.path().join("again.toml"), plain.replace("\nport = ", "\n# port = "));
    std::fs::write(from, &to).unwrap();
    let again = stdout(&mut shopctl(folder.path(), &["config", "show", "--config", "again.toml"]));
    assert_eq!(again, plain, "what is shown is a settings file");
}

#[test]
fn a_settings_file_that_is_named_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let output = shopctl(folder.path(), &["config", "check", "--config", "nowhere.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot read nowhere.toml"));
}

#[test]
fn shells_and_manuals_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&mut shopctl(folder.path(), &["completions", shell]));
        for command in HELPS.iter().filter_map(|words| words.first()) {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
    }
    let script = stdout(&mut shopctl(folder.path(), &["completions", "bash"]));
    let taken = std::process::Command::new("bash").args(["-n", "-c", &script]).status().unwrap();
    assert!(taken.success(), "bash does not take the script");
    let page = stdout(&mut shopctl(folder.path(), &["man"]));
    assert!(page.contains(".TH shopctl 1") && page.contains("backup"), "{page}");
    stdout(&mut shopctl(folder.path(), &["man", "pages"]));
    for words in HELPS {
        let name = [&["shopctl"][..], words].concat().join("-");
        assert!(folder.path().join(format!("pages/{name}.1")).is_file(), "there is no page {name}.1");
    }
}

#[test]
fn every_output_is_json_by_three_spellings() {
    let folder = tempfile::tempdir().unwrap();
    let asked = |words: &[&str], code: i32| {
        let outputs = [&["-o", "json"][..], &["--output=json"], &["--json"]].map(|flag| {
            let output = shopctl(folder.path(), &[words, flag].concat()).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
            serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
        });
        assert!(outputs.iter().all(|output| *output == outputs[0]), "{words:?}: {outputs:?}");
        outputs[0].clone()
    };
    assert_eq!(asked(&["migrate", "status"], 1)["databases"][0]["is_current"], false);
    assert_eq!(asked(&["migrate", "up"], 0)["databases"][0]["is_current"], true);
    assert_eq!(asked(&["config", "show"], 0)["pipeline"]["shards_count"], 2);
    assert_eq!(asked(&["config", "show", "--origin"], 0)["server"]["host"]["origin"], "default");
    assert_eq!(asked(&["audit"], 0)["rejects"], 0);
    assert_eq!(asked(&["healthcheck", "http://127.0.0.1:1"], 1)["is_well"], false);
    assert_eq!(asked(&["backup", "../backup", "--dry-run"], 0)["databases"], 5);
    // One object a line, and there is none.
    for flag in ["-ojson", "--json"] {
        assert_eq!(stdout(&mut shopctl(folder.path(), &["rejects", "list", flag])), "");
    }
}
