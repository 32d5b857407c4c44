//! What SQLite says, in the words that callers act on.

use rusqlite::ErrorCode;

use crate::base::db::Error;
use crate::base::db::error::{Condition, Why};

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let (code, text) = (error.sqlite_error_code(), error.to_string());
        let why = Why::of(error, text);
        match code {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(why),
            Some(ErrorCode::DiskFull) => Self::Unavailable(why.under(Condition::DiskFull)),
            Some(ErrorCode::ReadOnly) => Self::Unavailable(why.under(Condition::ReadOnly)),
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory,
            ) => Self::Unavailable(why),
            _ => Self::Broken(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn sqlites_own_error_stays_behind_the_text() {
        for (code, text) in [
            (5, "the database is busy: m"),
            (13, "the database is not available: disk_full: m"),
            (8, "the database is not available: database_read_only: m"),
            (14, "the database is not available: m"),
            (11, "the database is broken: m"),
        ] {
            let of_code = rusqlite::ffi::Error::new(code);
            let error = Error::from(rusqlite::Error::SqliteFailure(of_code, Some("m".to_owned())));
            assert_eq!(error.to_string(), text);
            let source = error.source().and_then(|source| source.downcast_ref::<rusqlite::Error>());
            assert_eq!(source.and_then(rusqlite::Error::sqlite_error_code), Some(of_code.code));
        }
    }
}
