//! Why a stage did not finish a task. The class of the fault decides what happens to the task next.

use std::any::Any;
use std::io;
use std::path::Path;

use crate::base::boot::{Exit, Failure};
use crate::base::db;
use crate::pipeline::apid::client::ClientError;
use crate::pipeline::files::artifact;
use crate::pipeline::task::Class;

/// Why a task was not finished.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The input is not what the stage before reported: no use in trying again. Failed at once.
    #[error("{0}")]
    Permanent(String),
    /// Something in this attempt went wrong; another one may succeed. Counts as an attempt.
    #[error("{0}")]
    Retryable(String),
    /// Something around us does not work (disk, database, API). The task goes back and no attempt is counted.
    #[error("{0}")]
    Unavailable(String),
    /// Another owner has the task by now. Our work is dropped.
    #[error("{0}")]
    LeaseLost(String),
    /// This process stops. The task goes back and no attempt is counted.
    #[error("stopped before the task was finished")]
    Stopped,
}

impl Fault {
    /// Why an input file could not be opened or read. What is wrong with one file is no fault of everything around it:
    /// it counts as an attempt, and in the end the file is given up and shows as failed. Where the whole folder is away,
    /// the file is not at fault.
    pub(crate) fn of_input(path: &Path, error: io::Error) -> Self {
        let folder = path.parent().unwrap_or(path);
        if error.kind() == io::ErrorKind::NotFound && artifact::open_folder(folder).is_err() {
            let folder = folder.display();
            let why = format!("{error}; the folder {folder} is not there: is it mounted?");
            return Self::Unavailable(Class::DiskAway.tag(why));
        }
        let of_the_file = error.kind() == io::ErrorKind::PermissionDenied
            || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
        match error.kind() {
            // A file that is not there may be a file that another machine's mount does not show yet.
            io::ErrorKind::NotFound => Self::Retryable(Class::Missing.tag(error)),
            _ if of_the_file => Self::Retryable(Class::Unreadable.tag(error)),
            _ => Self::from(error),
        }
    }

    /// A panic is a failed attempt: one file must not end the worker of all others.
    pub fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let text = text.as_deref().unwrap_or("no text");
        Self::Retryable(Class::Panicked.tag(format!("the stage panicked: {text}")))
    }
}

/// Whether a disk is full, or something else is wrong with it.
pub(crate) fn class_of_disk(error: &io::Error) -> Class {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Class::DiskFull,
        _ => Class::DiskAway,
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Permanent(Class::Corrupt.tag(error)),
            // A link or a pipe in its place is that file's fault alone.
            io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => Self::Retryable(Class::Unreadable.tag(error)),
            _ => Self::Unavailable(class_of_disk(&error).tag(error)),
        }
    }
}

impl From<db::Error> for Fault {
    fn from(error: db::Error) -> Self {
        match error {
            db::Error::Input(e) => Self::from(e),
            e if e.is_temporary() => Self::Unavailable(Class::DatabaseAway.tag(e)),
            e => Self::Retryable(Class::DatabaseBroken.tag(e)),
        }
    }
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        match error {
            e if e.is_task_taken() => Self::LeaseLost(e.to_string()),
            e @ ClientError::Denied { .. } => Self::Unavailable(Class::TokenRefused.tag(e)),
            e if e.is_temporary() => Self::Unavailable(Class::ServiceAway.tag(e)),
            e => Self::Retryable(Class::ServiceRefused.tag(e)),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let exit = if matches!(fault, Fault::Unavailable(_)) { Exit::TryLater } else { Exit::Failed };
        Self { exit, message: fault.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_counts_and_a_missing_folder_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let fault = |path: &Path| Fault::of_input(path, artifact::open(path).unwrap_err());
        assert!(matches!(fault(&folder.path().join("x")), Fault::Retryable(_)));
        let away = fault(&folder.path().join("away/x"));
        assert!(matches!(&away, Fault::Unavailable(why) if why.contains("is it mounted?")), "{away}");
    }
}
