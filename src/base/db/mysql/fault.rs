//! What a server or the driver says, in the words that callers act on (docs/semantics.md, 5).

use std::time::Duration;

use mysql_async::{Error as Driver, ServerError};

use crate::base::db::Error;
use crate::base::db::error::{Condition, Why};

/// A key stands there already.
const DUPLICATE_KEY: u16 = 1062;
/// There is no such table.
const NO_SUCH_TABLE: u16 = 1146;

/// A lost race, a lost connection or a forgotten statement: the whole transaction may be run again at once. 1205 lock
/// wait, 1206 lock table full, 1213 deadlock, 1020 the record changed since it was read, 1317 interrupted, 1969 and 3024
/// over the server's own time, 1243 and 1615 prepared anew, 1180 and 3101 at the commit, 1927 and 4031 the connection was
/// ended by the server.
const AGAIN: [u16; 15] = [1205, 1206, 1213, 1020, 1317, 1969, 3024, 1243, 1615, 1180, 3101, 1927, 2006, 2013, 4031];

/// Nothing is wrong with the statement, something is with the server or our place on it: wait.
const UNAVAILABLE: [&[u16]; 7] = [
    // Connections, prepared statements, transactions: too many.
    &[1040, 1203, 1226, 1129, 1130, 1461, 1637],
    // Memory and disk, binary log.
    &[3, 1026, 1030, 1037, 1038, 1041, 1135, 1197, 1598],
    // The user, its rights, and the database.
    &[1044, 1045, 1049, 1142, 1143, 1227, 1251, 1698, 1820, 1862, 3118],
    // Going down, offline, locked for a backup.
    &[1053, 1077, 1079, 1223, 3032],
    // Not part of its cluster just now.
    &[1047, 3100],
    // The network.
    &[1158, 1159, 1160, 1161],
    // Another one migrates.
    &[1684],
];

/// No room: on the disk, or in the table's file.
const DISK_FULL: [u16; 3] = [28, 1021, 1114];
/// The server, its engine or the transaction takes no changes.
const READ_ONLY: [u16; 6] = [1036, 1290, 1792, 1836, 1874, 1881];

/// What a statement on an open connection failed with.
pub(crate) fn of_statement(error: Driver) -> Error {
    match error {
        Driver::Server(error) => of_server(error),
        // An open connection was lost: it is unknown how far the transaction came, so all of it is run again.
        Driver::Io(_) | Driver::Driver(mysql_async::DriverError::ConnectionClosed) => {
            let text = format!("the connection was lost: {error}");
            Error::Busy(Why::of(error, text))
        }
        other => Error::Broken(why(other)),
    }
}

/// What a COMMIT failed with. The marker makes a repeat safe, so what is not known to be for good is tried again.
pub(crate) fn of_commit(error: Driver) -> Error {
    match of_statement(error) {
        Error::Broken(why) => Error::Busy(why.reworded(|text| format!("the commit failed: {text}"))),
        other => other,
    }
}

/// Why there is no connection.
pub(crate) fn of_connect(error: Driver, place: &str) -> Error {
    let why = match error {
        Driver::Server(error) => match of_server(error) {
            Error::Broken(why) | Error::Busy(why) | Error::Unavailable(why) => why,
            other => return other,
        },
        other => why(other),
    };
    Error::Unavailable(why).at(place)
}

fn of_server(error: ServerError) -> Error {
    let code = error.code;
    let text = format!("{} (error {code})", error.message);
    let why = Why::of(error, text);
    if AGAIN.contains(&code) {
        Error::Busy(why)
    } else if DISK_FULL.contains(&code) {
        Error::Unavailable(why.under(Condition::DiskFull))
    } else if READ_ONLY.contains(&code) {
        Error::Unavailable(why.under(Condition::ReadOnly))
    } else if UNAVAILABLE.iter().any(|codes| codes.contains(&code)) {
        Error::Unavailable(why)
    } else {
        Error::Broken(why)
    }
}

/// In the driver's own words.
fn why(error: Driver) -> Why {
    let text = error.to_string();
    Why::of(error, text)
}

/// What a server comes to that accepts and never answers.
pub(crate) fn no_answer(waited: Duration) -> Error {
    Error::unavailable(format!("the database gave no answer within {waited:?}"))
}

/// Whether a statement failed because its key stands there already.
pub(crate) fn is_duplicate(error: &Driver) -> bool {
    matches!(error, Driver::Server(error) if error.code == DUPLICATE_KEY)
}

/// Whether a statement failed because there is no such table.
pub(crate) fn is_missing_table(error: &Driver) -> bool {
    matches!(error, Driver::Server(error) if error.code == NO_SUCH_TABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_code(code: u16) -> Error {
        of_statement(Driver::Server(ServerError { code, message: "m".to_owned(), state: "HY000".to_owned() }))
    }

    #[test]
    fn what_may_pass_by_itself_is_never_called_broken() {
        for code in [1205, 1213, 1020, 1615, 2006, 2013] {
            assert!(matches!(of_code(code), Error::Busy(_)), "{code}");
        }
        for code in [1290, 1836, 1874, 1114, 1021, 1040, 1045, 1047, 1053, 1461] {
            assert!(matches!(of_code(code), Error::Unavailable(_)), "{code}");
        }
        assert!(matches!(of_code(1064), Error::Broken(_)), "a statement that cannot be read never passes");
        assert!(of_code(1040).is_temporary() && of_code(1213).is_temporary() && !of_code(1366).is_temporary());
    }

    #[test]
    fn the_servers_own_error_stays_behind_the_text() {
        use std::error::Error as _;
        for (code, text) in [
            (1213, "the database is busy: m (error 1213)"),
            (1040, "the database is not available: m (error 1040)"),
            (1021, "the database is not available: disk_full: m (error 1021)"),
            (1290, "the database is not available: database_read_only: m (error 1290)"),
            (1064, "the database is broken: m (error 1064)"),
        ] {
            let error = of_code(code);
            assert_eq!(error.to_string(), text);
            let source = error.source().and_then(|source| source.downcast_ref::<ServerError>());
            assert_eq!(source.map(|source| source.code), Some(code));
        }
        let server = |code| Driver::Server(ServerError { code, message: "m".to_owned(), state: "HY000".to_owned() });
        let error = of_connect(server(1045), "here");
        assert_eq!(error.to_string(), "the database is not available: here: m (error 1045)");
        assert!(error.source().is_some_and(|source| source.is::<ServerError>()));
        let error = of_commit(server(1064));
        assert_eq!(error.to_string(), "the database is busy: the commit failed: m (error 1064)");
        assert!(error.source().is_some());
        let lost = Driver::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let error = of_statement(lost);
        assert!(error.to_string().starts_with("the database is busy: the connection was lost: "), "{error}");
        assert!(error.source().is_some_and(|source| source.is::<Driver>()));
    }
}
