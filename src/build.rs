//! Notes the commit that the binary is built from, for `--version`, metrics and logs.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src/build.rs");
    println!("cargo:rerun-if-env-changed=SHOPCTL_COMMIT");
    // An image is built without the repository; its builder names the commit.
    let commit = named_commit().or_else(git_commit).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=SHOPCTL_COMMIT={commit}");
}

#[expect(clippy::disallowed_methods, reason = "a build script has no settings but the environment")]
fn named_commit() -> Option<String> {
    std::env::var("SHOPCTL_COMMIT").ok().filter(|commit| !commit.is_empty())
}

fn git_commit() -> Option<String> {
    // The log of HEAD grows with every commit and every switch. A path that does not exist would rebuild every time.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
