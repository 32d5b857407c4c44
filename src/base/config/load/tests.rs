//! What wins, and everything that can be wrong.

use proptest::prelude::*;

use super::super::loaded::Loaded;
use super::super::test_system::{Sample, TestSystem, with_flags};
use super::*;

fn sources(toml: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> (Sources, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(DEFAULT_FILE), toml).unwrap();
    let own =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    let sources = Sources {
        flags: own(flags),
        environment: own(environment).into_iter().collect(),
        folder: folder.path().to_owned(),
        ..Sources::default()
    };
    (sources, folder)
}

fn load_all(sources: &Sources) -> Result<Loaded<TestSystem>, Faults> {
    load(sources)
}

fn loaded(toml: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> TestSystem {
    load_all(&sources(toml, environment, flags).0).unwrap().settings
}

fn faults(toml: &str, environment: &[(&str, &str)]) -> Vec<String> {
    load_all(&sources(toml, environment, &[]).0).unwrap_err().0
}

#[test]
fn a_section_has_its_defaults_and_is_described_where_it_is_defined() {
    let defaults = loaded("", &[("SHOPCTL_PROFILE", "container")], &[]);
    assert_eq!((defaults.server.host.as_str(), defaults.server.port), ("0.0.0.0", None));
    let sample = defaults.sample;
    assert_eq!((sample.count, sample.wait.as_millis(), sample.broken_rate), (5, 200, 0.0));
    assert_eq!((sample.strict, sample.is_last, sample.letter), (false, false, 'a'));
    assert_eq!(loaded("", &[], &[]).sample.letter, 'l');
    let key = Sample::KEYS.count;
    assert_eq!((key.path, key.unit, key.variable().as_str()), ("sample.count", "things", "SHOPCTL__SAMPLE__COUNT"));
    assert_eq!(key.doc, "a number with a short name, and a comment of two lines");
    assert_eq!(Sample::KEYS.wait.path, "sample.wait_ms");
}

proptest! {
    /// Every subset of the sources: the last one that names the setting wins, and is the origin.
    #[test]
    fn the_source_that_comes_last_wins(values in prop::array::uniform5(prop::option::of(1_u32..=1000))) {
        let [role, file, short, long, flag] = values.map(|value| value.map(|number| number.to_string()));
        let toml = file.as_ref().map_or_else(String::new, |number| format!("[sample]\ncount = {number}\n"));
        let (mut sources, folder) = sources(&toml, &[], &[]);
        let variables = [("SAMPLE_COUNT", short.clone()), ("SHOPCTL__SAMPLE__COUNT", long.clone())];
        sources.environment.extend(variables.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        sources.role_defaults.extend(role.clone().map(|value| (Sample::KEYS.count, value)));
        sources.flags.extend(flag.clone().map(|value| ("sample.count".to_owned(), value)));
        let path = format!("file {}", folder.path().join(DEFAULT_FILE).display());
        let last = [
            (Some("5".to_owned()), "default"),
            (role, "default of the role"),
            (file, path.as_str()),
            (short, "environment SAMPLE_COUNT"),
            (long, "environment"),
            (flag, "flag"),
        ];
        let (value, origin) = last.into_iter().rfind(|(value, _)| value.is_some()).unwrap();
        let loaded = load_all(&sources).unwrap();
        prop_assert_eq!(Some(loaded.settings.sample.count.to_string()), value);
        let line = format!("count = {}  # {origin}", loaded.settings.sample.count);
        prop_assert!(loaded.show(true).lines().any(|own| own == line), "{line}");
        prop_assert_eq!(loaded.is_default(Sample::KEYS.count), origin == "default");
    }
}

/// A wrong value of each kind, in each source that can have it.
#[test]
fn every_wrong_value_is_told_with_its_source_and_what_is_expected() {
    for (path, variable, value, expected) in [
        ("sample.count", "SHOPCTL__SAMPLE__COUNT", "1001", "a whole number from 1 to 1000"),
        ("sample.count", "SAMPLE_COUNT", "many", "a whole number from 1 to 1000"),
        ("sample.wait_ms", "SHOPCTL__SAMPLE__WAIT_MS", "99", "a whole number from 100 to 500"),
        ("sample.broken_rate", "SHOPCTL__SAMPLE__BROKEN_RATE", "1.5", "a number from 0 to 1"),
        ("sample.strict", "SHOPCTL__SAMPLE__STRICT", "maybe", "true or false"),
        ("sample.order", "SHOPCTL__SAMPLE__ORDER", "middle", "one of first, last"),
    ] {
        let origin = if variable.starts_with("SHOPCTL__") { "environment" } else { "environment SAMPLE_COUNT" };
        let fault = |origin: &str| format!("{path} ({origin}) is '{value}': {expected} is expected");
        assert_eq!(faults("", &[(variable, value)]), [fault(origin)]);
        assert_eq!(with_flags(&[(path, value)]).unwrap_err(), [fault("flag")]);
    }
    assert_eq!(with_flags(&[("sample.letter", "")]).unwrap_err(), ["sample.letter (flag) is '': a text is expected"]);
    // What only the system can judge names the key.
    assert_eq!(with_flags(&[("sample.letter", "ab")]).unwrap_err(), ["sample.letter: must be one letter"]);
    let level = with_flags(&[("logging.level", "shop=loud")]).unwrap_err();
    assert!(level.len() == 1 && level[0].starts_with("logging.level: 'shop=loud' is no filter"), "{level:?}");
}

#[test]
fn a_file_has_texts_in_quotes_and_the_rest_without_and_no_lists() {
    let toml = "[sample]\ncount = \"7\"\norder = 3\nstrict = [true]\n[sample.wait_ms]\nx = 1\n";
    let all = faults(toml, &[]);
    for part in [
        "sample.count (file",
        "a value without quotes is expected",
        "sample.order (file",
        "a text in quotes is expected",
        "a single value is expected",
        "sample.wait_ms (file",
    ] {
        assert!(all.iter().any(|fault| fault.contains(part)), "{part} in {all:#?}");
    }
    assert_eq!(all.len(), 4, "{all:#?}");
}

#[test]
fn what_is_no_setting_is_told_with_the_one_that_was_meant() {
    let all = faults("[sample]\ncuont = 1\n[elsewhere]\nquite = 1\n", &[("SHOPCTL__SAMPLE__CUONT", "1")]);
    assert_eq!(all.len(), 3, "{all:#?}");
    assert!(all[0].contains("elsewhere.quite (file") && all[0].ends_with("'shopctl config default' lists all keys"));
    assert!(all[1].starts_with("sample.cuont (file") && all[1].ends_with("did you mean sample.count?"), "{all:#?}");
    assert!(all[2].ends_with("did you mean SHOPCTL__SAMPLE__COUNT?"), "{all:#?}");
    assert!(with_flags(&[("sample.cuont", "1")]).unwrap_err()[0].contains("did you mean sample.count?"));
}

#[test]
fn all_faults_are_listed_at_once() {
    let toml = "[server]\nprot = 1\nhost = 7\n[sample]\nbroken_rate = 2.0\ncount = 2000\nletter = \"ab\"\n";
    let all =
        faults(toml, &[("SERVER_PORT", "http"), ("SHOPCTL__LOGGING__FORMAT", "yaml"), ("SHOPCTL_PROFILE", "cloud")]);
    assert_eq!(all.len(), 7, "{all:#?}");
    for part in [
        "SHOPCTL_PROFILE is 'cloud', it must be local or container",
        "did you mean server.port?",
        "server.host",
        "from 0 to 1",
        "from 1 to 1000",
        "SERVER_PORT",
        "one of json, text",
    ] {
        assert!(all.iter().any(|fault| fault.contains(part)), "{part} in {all:#?}");
    }
    // What the values come to is judged once each of them is of its kind; also there all is listed.
    let both = with_flags(&[("sample.letter", "ab"), ("logging.level", "x=y"), ("auth.worker", "short")]).unwrap_err();
    assert_eq!(both.len(), 3, "{both:#?}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_that_quotes_nothing_of_it() {
    let all = faults("[auth]\nworker = \"canary-0123456789\nx = [", &[]);
    assert!(all.len() == 1 && all[0].contains("no TOML") && !all[0].contains("canary"), "{all:?}");
    let gone = Sources { file: Some("/nonexistent/own.toml".into()), ..Sources::default() };
    assert!(load_all(&gone).unwrap_err().0[0].contains("cannot read /nonexistent/own.toml"));
}

/// What stands behind the comment signs is what holds without a file; with them the file changes nothing.
#[test]
fn the_sample_file_says_what_the_defaults_are_and_changes_nothing() {
    let schema = TestSystem::schema();
    let of_role = vec![(Sample::KEYS.count, "7".to_owned())];
    for (name, profile) in [("local", Profile::Local), ("container", Profile::Container)] {
        for role_defaults in [Vec::new(), of_role.clone()] {
            let sample = schema.sample(profile, &role_defaults);
            let is_key = |line: &&str| line.starts_with('[') || !line.starts_with("# ") && line.contains(" = ");
            let set = sample.lines().filter(is_key).map(|line| line.trim_start_matches('#')).collect::<Vec<_>>();
            let (sources, _folder) = sources(&sample, &[("SHOPCTL_PROFILE", name)], &[]);
            let sources = Sources { role_defaults: role_defaults.clone(), ..sources };
            let defaults = load_all(&Sources { folder: "/nonexistent".into(), ..sources.clone() }).unwrap();
            assert_eq!(load_all(&sources).unwrap().show(true), defaults.show(true));
            if role_defaults.is_empty() {
                let (sources, _folder) = self::sources(&set.join("\n"), &[("SHOPCTL_PROFILE", name)], &[]);
                assert_eq!(load_all(&sources).unwrap().show(false), defaults.show(false));
            }
        }
    }
}

#[test]
fn a_variable_that_is_no_setting_is_a_fault_with_the_one_that_was_meant() {
    let all = faults("", &[("SHOPCTL_SERVER_PORT", "1"), ("SHOPCTL__SERVER_PORT", "1"), ("SHOPCTL_BIN", "x")]);
    assert_eq!(all.len(), 2, "{all:#?}");
    assert!(all.iter().all(|fault| fault.ends_with("did you mean SHOPCTL__SERVER__PORT?")), "{all:#?}");
}

#[test]
fn a_variable_of_ours_that_is_no_text_is_a_fault() {
    let unreadable = ["LESSOPEN", "SERVER_PORT", "SHOPCTL__SERVER__HOST"].map(str::to_owned).to_vec();
    let sources = Sources { unreadable, folder: "/nonexistent".into(), ..Sources::default() };
    let expected = ["SERVER_PORT", "SHOPCTL__SERVER__HOST"]
        .map(|name| format!("{name} (environment): a text in UTF-8 is expected"));
    assert_eq!(load_all(&sources).unwrap_err().0, expected);
}

#[test]
fn what_is_shown_is_a_file_that_says_the_same() {
    let texts = ["\u{1b}[31m red", "e\u{301}", "line\nfeed", "C:\\d", "a \"quoted\" word", "\u{7f}\u{9b}"];
    for text in texts {
        let shown = load_all(&sources("", &[], &[("server.host", text)]).0).unwrap().show(false);
        assert!(shown.lines().all(|line| !line.chars().any(char::is_control)), "{shown:?}");
        assert_eq!(loaded(&shown, &[], &[]).server.host, text);
    }
}

#[test]
fn a_fault_is_one_line_whatever_it_quotes() {
    let toml = "[server]\nread_timeout = \"1\\n\\u001b[2Jall is well\"\n\"odd\\nkey\" = 1\n";
    let all = faults(toml, &[("SERVER_PORT", "80\n81")]);
    assert_eq!(all.len(), 3, "{all:#?}");
    assert!(all.iter().all(|fault| !fault.chars().any(char::is_control)), "{all:#?}");
    assert!(all.iter().any(|fault| fault.contains(r"80\u000a81")), "{all:#?}");
}

#[test]
fn plain_output_is_asked_for_by_the_environment() {
    assert!(loaded("", &[("NO_COLOR", "1")], &[]).logging.is_plain);
    assert!(!loaded("", &[("NO_COLOR", "")], &[]).logging.is_plain);
}

#[test]
fn secrets_are_masked_and_told_where_they_can_be_read() {
    let flags = [("auth.worker", "canary-0123456789"), ("server.host", "x://u:canary@h")];
    let loaded = load_all(&sources("", &[], &flags).0).unwrap();
    let shown = [loaded.show(true), loaded.show_json(true).to_string(), format!("{loaded:?}")];
    assert!(shown[..2].iter().all(|shown| !shown.contains("canary") && shown.contains("***")), "{shown:?}");
    assert_eq!(loaded.exposed(), ["auth.worker", "server.host"]);
    let wrong = with_flags(&[("sample.count", "mysql://u:canary@h/d")]).unwrap_err();
    assert_eq!(wrong, ["sample.count (flag) is 'mysql://u:***@h/d': a whole number from 1 to 1000 is expected"]);
}

#[test]
fn systems_share_sections_and_list_what_is_theirs() {
    let other = Schema::new(
        &[
            super::super::Server::SECTION,
            &[Key { path: "other.x", ..Sample::KEYS.count }],
            &[Key { path: "sample.y", ..Sample::KEYS.count }],
        ],
        super::super::test_system::LISTED,
    );
    let paths = |schema: &Schema| schema.keys().iter().map(|key| key.path).collect::<Vec<_>>();
    let own = TestSystem::schema();
    assert_eq!(paths(&Schema::joined(&[own.clone(), own.clone()])), paths(&own));
    let mut expected = paths(&own);
    let after = expected.iter().rposition(|path| path.starts_with("sample.")).unwrap();
    expected.insert(after + 1, "sample.y");
    expected.push("other.x");
    assert_eq!(paths(&Schema::joined(&[own, other])), expected);
}
