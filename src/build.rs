//! Notes the commit that the binary is built from, for `--version`, metrics and logs; makes the types of the gRPC
//! services of `protos/`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What clients are generated from, too.
const PROTOS: [&str; 2] = ["protos/event_hub.proto", "protos/event_service.proto"];
/// Where the descriptors are found that reflection shows.
const DESCRIPTORS: &str = "descriptors.bin";

fn main() -> Result<(), Box<dyn Error>> {
    note_commit();
    make_services()
}

/// Compiles the services without `protoc`, which no toolchain brings.
fn make_services() -> Result<(), Box<dyn Error>> {
    for proto in PROTOS {
        println!("cargo:rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(PROTOS, ["protos"])?;
    let encoded = prost::Message::encode_to_vec(&descriptors);
    std::fs::write(out_dir()?.join(DESCRIPTORS), encoded)?;
    tonic_prost_build::configure().build_transport(false).compile_fds(descriptors)?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a build script has no settings but the environment")]
fn out_dir() -> Result<PathBuf, Box<dyn Error>> {
    Ok(PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?))
}

fn note_commit() {
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
