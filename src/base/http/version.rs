//! Which program this is.

/// The commit this was built from.
pub(super) const COMMIT: &str = match option_env!("SHOPCTL_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
/// The version this is.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
