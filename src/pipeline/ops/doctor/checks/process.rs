//! The process and its secrets.

use crate::pipeline::ops::doctor::Finding;
use crate::pipeline::ops::doctor::facts::TokenFile;

/// Open files beside connections: databases with their logs, artifacts, sorted runs.
const OTHER_FILES: u64 = 128;
/// Rights of users who are neither the owner nor of the group.
const OTHERS: u32 = 0o007;

/// Judges how many files may be open at once.
pub(super) fn open_files(limit: Option<u64>, connections_max: usize) -> Finding {
    let needed = u64::try_from(connections_max).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    match limit {
        Some(limit) if limit < needed => Finding::warn(
            "open files",
            format!("{limit} may be open at once; server.max_connections = {connections_max} may need {needed}"),
            format!("ulimit -n {needed} (LimitNOFILE= of systemd), or a lower server.max_connections"),
        ),
        Some(limit) => Finding::ok("open files", format!("{limit} may be open at once")),
        None => Finding::ok("open files", "there is no limit"),
    }
}

/// Judges who may read a token.
pub(super) fn token_file(file: &TokenFile) -> Finding {
    let TokenFile { key, path, mode } = file;
    let path = path.display();
    match mode {
        Some(mode) if mode & OTHERS != 0 => Finding::warn(
            key.as_str(),
            format!("{path} can be read by every user of this machine (mode {:o})", mode & 0o777),
            format!("chmod o= {path}"),
        ),
        Some(mode) => Finding::ok(key.as_str(), format!("{path} (mode {:o})", mode & 0o777)),
        None => Finding::warn(key.as_str(), format!("{path} cannot be looked at"), "check its folder's rights"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::ops::doctor::Level;

    #[test]
    fn connections_and_files_fit_the_limit() {
        for (limit, level) in [(None, Level::Ok), (Some(1024), Level::Warn), (Some(1152), Level::Ok)] {
            assert_eq!(open_files(limit, 1024).level, level, "{limit:?}");
        }
    }

    #[test]
    fn a_token_is_for_its_owner() {
        for (mode, level) in [
            (Some(0o100_600), Level::Ok),
            (Some(0o100_640), Level::Ok),
            (Some(0o100_644), Level::Warn),
            (None, Level::Warn),
        ] {
            let file = TokenFile { key: "auth.operator_file".to_owned(), path: "/t".into(), mode };
            assert_eq!(token_file(&file).level, level, "{mode:?}");
        }
    }
}
