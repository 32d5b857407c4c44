//! docs/settings.md is made from the schema of the settings.

use std::fmt::Write;

use shopctl::base::config::key::{Default, Key, KeyKind};
use shopctl::base::config::{Schema, Sections};
use shopctl::role::settings::Settings;

use super::{is_blessed, read, root};

const PAGE: &str = "docs/settings.md";

/// What stands above the tables.
const INTRODUCTION: &str = "# Settings

<!-- Made from the sections in src/base/config and src/pipeline/settings: SHOPCTL_BLESS=1 cargo test --test it docs::settings -->

A flag (`--set section.key=value`) beats the environment, the environment beats the file (`--config FILE`, else `./shopctl.toml` if there is
one), and the file beats the default. Unknown keys, wrong types and values out of range stop the start with exit code 64 and one message that
lists all of them.

```text
shopctl config default               every setting, its default and what it means
shopctl config check --config FILE   what is wrong with a file
shopctl config show --origin         what is in force here, and where each value comes from
```

- Every setting has an environment name, `SHOPCTL__SECTION__KEY`, with two underscores each time. Three have a short name too. `SHARD_ID` is the
  shard of `shopctl work`.
- `SHOPCTL_PROFILE=container` takes the defaults of the column *container*; `local` is the default. The image sets it.
- `shopctl up` has defaults of its own for the generator ([event-ingest.md](event-ingest.md#the-generator)), and an opening balance of
  1000000.
- A *secret* is masked in `config show` and never logged. See [tokens](deploy.md#tokens). A setting `..._file` names a file with the
  token instead.
";

#[test]
fn the_page_of_settings_is_that_of_the_schema() {
    let page = page();
    if is_blessed() {
        std::fs::write(root().join(PAGE), &page).unwrap();
    }
    assert_eq!(read(PAGE), page, "SHOPCTL_BLESS=1 cargo test --test it docs::settings writes {PAGE} anew");
}

#[test]
fn every_number_has_a_unit() {
    for key in schema().keys().iter().filter(|key| matches!(key.kind, KeyKind::Int(..) | KeyKind::Rate)) {
        assert!(!key.unit.is_empty(), "{} has no unit", key.path);
    }
}

fn schema() -> Schema {
    Settings::schema()
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut section = "";
    for key in schema().keys() {
        let (own, _) = key.parts();
        if own != section {
            section = own;
            write!(page, "\n## {section}\n\n{HEAD}").unwrap();
        }
        page.push_str(&row(key));
    }
    page
}

const HEAD: &str = "| setting | type | range | unit | local | container | environment | meaning |\n|---|---|---|---|---|---|---|---|\n";

fn row(key: &Key) -> String {
    let (kind, range) = kind_and_range(key.kind);
    let shown = |value: Default| match value {
        Default::None if matches!(key.kind, KeyKind::Int(..)) => "per role".to_owned(),
        Default::None => "none".to_owned(),
        value => format!("`{}`", value.toml()),
    };
    let local = shown(key.local.unwrap_or(key.default));
    let cells = [
        format!("`{}`", key.path),
        kind.to_owned(),
        range,
        key.unit.to_owned(),
        local,
        shown(key.default),
        environment(key),
        key.doc.replace('|', "\\|"),
    ];
    format!("| {} |\n", cells.join(" | "))
}

fn kind_and_range(kind: KeyKind) -> (&'static str, String) {
    match kind {
        KeyKind::Text => ("text", "not empty".to_owned()),
        KeyKind::Secret => ("secret", "16 to 256 visible ASCII characters".to_owned()),
        KeyKind::Choice(words) => ("word", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")),
        KeyKind::Int(least, most) => ("whole number", format!("{least} to {most}")),
        KeyKind::Rate => ("number", "0 to 1".to_owned()),
        KeyKind::Bool => ("boolean", "`true`, `false`".to_owned()),
    }
}

/// The names in the environment.
fn environment(key: &Key) -> String {
    let short = key.short.map_or_else(String::new, |name| format!(", `{name}`"));
    format!("`{}`{short}", key.variable())
}
