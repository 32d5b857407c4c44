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
    assert_eq!(bases, ["${RUST_IMAGE} AS build", "${DEBIAN_IMAGE}"]);
    // The compiler of the image is the one that the manifest asks for.
    let compiler = format!("ARG RUST_IMAGE=rust:{}-slim-bookworm", env!("CARGO_PKG_RUST_VERSION"));
    assert_eq!(instructions[..2], [compiler, "ARG DEBIAN_IMAGE=debian:bookworm-slim".to_owned()]);
    let builds: Vec<&str> =
        instructions.iter().flat_map(|line| line.split("&&")).filter(|c| c.contains("cargo ")).collect();
    assert!(builds.len() >= 3 && builds.iter().all(|command| command.contains("--locked")), "{builds:?}");
    assert!(!instructions.iter().any(|line| line.starts_with("ADD ")), "COPY takes files only");
}

#[test]
fn the_image_runs_the_program_itself_and_not_as_root() {
    let user = last("USER");
    let (uid, gid) = user.split_once(':').expect("USER is numeric, UID:GID");
    assert!(uid.parse::<u32>().unwrap() > 0 && gid.parse::<u32>().unwrap() > 0, "{user}");
    let variables = variables();
    assert_eq!(user, format!("{}:{}", variables["SHOPCTL_UID"], variables["SHOPCTL_GID"]));
    // The exec form: the program is process 1 and gets the signals itself.
    assert_eq!(last("ENTRYPOINT"), r#"["shopctl"]"#);
    assert_eq!(last("CMD"), r#"["--help"]"#);
    assert_eq!(last("STOPSIGNAL"), "SIGTERM");
    // Without a role named it finds the one that runs.
    assert!(last("HEALTHCHECK").ends_with(r#"CMD ["shopctl", "healthcheck"]"#), "{}", last("HEALTHCHECK"));
    assert_eq!(last("ENV"), "SHOPCTL_PROFILE=container");
}

#[test]
fn the_settings_are_in_the_image_and_readable_for_the_roles() {
    let instructions = instructions();
    let position = |line: &str| instructions.iter().position(|l| l == line).unwrap_or_else(|| panic!("no {line}"));
    let copied = position("COPY docker/shopctl.toml /etc/shopctl/shopctl.toml");
    // A checkout under umask 077 has them for its owner alone, and COPY keeps that.
    assert_eq!(position("RUN chmod 0644 /etc/shopctl/shopctl.toml"), copied + 1);
    // Where shopctl looks for them.
    assert_eq!(last("WORKDIR"), "/etc/shopctl");
    assert!(instructions[copied..].iter().all(|line| !line.starts_with("FROM ")), "not in the last stage");
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
        let sent = seen.iter().any(|rule| Path::new(name).starts_with(rule));
        assert!(sent, "{name} is copied but left out by .dockerignore");
    }
    for name in seen {
        assert!(copied.iter().any(|copy| copy == name), "{name} is sent to the builder for nothing");
    }
}
