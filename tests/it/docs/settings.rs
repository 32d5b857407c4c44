//! docs/settings.md is made from the schema of the settings.

use std::fmt::Write;

use shopctl::base::config::schema::{KEYS, Key, Kind};

use super::{is_blessed, read, root};

const PAGE: &str = "docs/settings.md";

/// What stands above the tables.
const INTRODUCTION: &str = "# Settings

<!-- Made from src/base/config/schema.rs: SHOPCTL_BLESS=1 cargo test --test it docs::settings -->

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
    for key in KEYS.iter().filter(|key| matches!(key.kind, Kind::Int(..) | Kind::Rate)) {
        assert!(!unit(key).is_empty(), "{} has no unit", key.path);
    }
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut section = "";
    for key in KEYS {
        let (own, _) = key.path.split_once('.').unwrap();
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
    let shown = |value: &str| match value {
        "" if key.path == "server.port" => "per role".to_owned(),
        "" => "none".to_owned(),
        value => format!("`{value}`"),
    };
    let local = shown(key.local.unwrap_or(key.default));
    let cells = [
        format!("`{}`", key.path),
        kind.to_owned(),
        range,
        unit(key).to_owned(),
        local,
        shown(key.default),
        environment(key.path),
        key.doc.replace('|', "\\|"),
    ];
    format!("| {} |\n", cells.join(" | "))
}

fn kind_and_range(kind: Kind) -> (&'static str, String) {
    match kind {
        Kind::Text => ("text", "not empty".to_owned()),
        Kind::Secret => ("secret", "16 to 256 visible ASCII characters".to_owned()),
        Kind::Choice(words) => ("word", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")),
        Kind::Int(least, most) => ("whole number", format!("{least} to {most}")),
        Kind::Rate => ("number", "0 to 1".to_owned()),
        Kind::Bool => ("boolean", "`true`, `false`".to_owned()),
    }
}

/// What a value counts.
fn unit(key: &Key) -> &'static str {
    match key.path {
        "server.max_connections" => "connections",
        "server.port" => "port",
        "events.max_batch_size" | "events.events_per_batch" => "events",
        "events.seed" => "any number",
        "pipeline.shards_count" => "shards",
        "pipeline.attempts_max" => "attempts",
        "balance.opening_balance" => "money",
        "cache.pending_max" => "returns",
        path => {
            let by_name = [
                ("_ms", "ms"),
                ("_timeout", "s"),
                ("_interval", "s"),
                ("_ttl", "s"),
                ("_hours", "hours"),
                ("_days", "days"),
                ("_size", "bytes"),
                ("_rate", "share"),
            ];
            by_name.into_iter().find(|(end, _)| path.ends_with(end)).map_or("", |(_, unit)| unit)
        }
    }
}

/// The names in the environment.
fn environment(path: &str) -> String {
    let long = format!("`SHOPCTL__{}`", path.to_uppercase().replace('.', "__"));
    let short = match path {
        "server.port" => ", `SERVER_PORT`",
        "pipeline.url" => ", `PIPELINE_URL`",
        "pipeline.shards_count" => ", `PIPELINE_SHARDS_COUNT`",
        _ => "",
    };
    long + short
}
