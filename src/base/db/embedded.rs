//! What is done with the file of an embedded database as a whole.

use std::path::Path;

use super::Result;

/// Copies an embedded database as it is at one moment to a new file, while others may write it. `go_on` is asked now and
/// then; false gives the copy up. The copy is not synced.
///
/// # Errors
/// [`Error`](super::Error) when one of the two cannot be opened, read or written, or the copy was given up.
pub fn copy_embedded(from: &Path, to: &Path, go_on: &dyn Fn() -> bool) -> Result<()> {
    crate::base::db::sqlite::copy::copy(from, to, go_on)
}

/// Reads a copy from its first page to its last; answers how many migrations were applied to it. The path is absolute.
///
/// # Errors
/// [`Error`](super::Error) when it is damaged or cannot be read.
pub fn check_embedded(path: &Path) -> Result<usize> {
    crate::base::db::sqlite::copy::check(path)
}

/// Why this process cannot change an embedded database, as far as rights and the file system tell, in words that
/// follow its name. Nothing where it can, or there is no such file.
pub fn why_embedded_is_read_only(path: &Path) -> Option<String> {
    crate::base::db::sqlite::fault::why_read_only(path)
}

/// Whether another process has an embedded database open.
///
/// # Errors
/// [`Error`](super::Error) when it cannot be opened.
pub fn is_embedded_in_use(path: &Path) -> Result<bool> {
    crate::base::db::sqlite::copy::is_in_use(path)
}
