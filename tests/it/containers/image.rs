//! The Dockerfile: what the image is made of and who it runs as.

use std::path::Path;

use super::{file, variables};

/// The instructions, one a line, comments left out.
fn instructions() -> Vec<String> {
    let text = file("Dockerfile");
    let lines: String = text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let joined = lines.replace("\\\n", " ");
    joined
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// What stands behind the last instruction of this name.
fn last(name: &str) -> String {
    let found = instructions().iter().rev().find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned));
    found.unwrap_or_else(|| panic!("the Dockerfile has no {name}"))
}

#[test]
fn the_image_is_built_from_named_versions_and_locked_dependencies() {
    let instructions = instructions();
    let bases: Vec<&str> = instructions.iter().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(bases, ["rust:1.95-slim-bookworm AS build", "debian:bookworm-slim"]);
    // The compiler of the image is the one that the manifest asks for.
    assert!(bases[0].starts_with(&format!("rust:{}-", env!("CARGO_PKG_RUST_VERSION"))));
    let builds: Vec<&str> =
        instructions.iter().flat_map(|line| line.split("&&")).filter(|c| c.contains("cargo ")).collect();
    assert!(builds.len() >= 3 && builds.iter().all(|command| command.contains("--locked")), "{builds:?}");
    assert!(!instructions.iter().any(|line| line.starts_with("ADD ")), "COPY takes files only");
}

#[test]
fn the_image_runs_the_program_itself_as_nobody_else() {
    let user = last("USER");
    let (uid, gid) = user.split_once(':').expect("USER is numeric, UID:GID");
    assert!(uid.parse::<u32>().unwrap() > 0 && gid.parse::<u32>().unwrap() > 0, "{user}");
    let variables = variables();
    assert_eq!(user, format!("{}:{}", variables["SHOPCTL_UID"], variables["SHOPCTL_GID"]));
    // The exec form: the program is process 1 and gets the signals itself.
    assert_eq!(last("ENTRYPOINT"), r#"["shopctl"]"#);
    assert_eq!(last("CMD"), r#"["--help"]"#);
    assert_eq!(last("STOPSIGNAL"), "SIGTERM");
    assert_eq!(last("ENV"), "SHOPCTL_PROFILE=container");
}

#[test]
fn the_image_says_what_it_is() {
    let label = last("LABEL");
    for expected in [
        format!(r#"image.version="{}""#, env!("CARGO_PKG_VERSION")),
        r#"image.licenses="MIT""#.to_owned(),
        r#"image.revision="$SHOPCTL_COMMIT""#.to_owned(),
    ] {
        assert!(label.contains(&expected), "{label}");
    }
}

#[test]
fn the_build_sees_what_it_copies_and_nothing_else() {
    let ignore = file(".dockerignore");
    let rules: Vec<&str> = ignore.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(rules[0], "*", "everything else is left out first");
    let seen: Vec<&str> = rules[1..].iter().map(|rule| rule.strip_prefix('!').expect(rule)).collect();
    let mut copied = Vec::new();
    for line in instructions() {
        if let Some(arguments) = line.strip_prefix("COPY ").filter(|arguments| !arguments.starts_with("--from")) {
            let mut names: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
            names.pop();
            copied.extend(names);
        }
    }
    for name in &copied {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists(), "{name} is copied but not there");
        assert!(seen.contains(&name.split('/').next().unwrap()), "{name} is copied but left out by .dockerignore");
    }
    for name in seen {
        assert!(copied.iter().any(|copy| copy == name), "{name} is sent to the builder for nothing");
    }
}
