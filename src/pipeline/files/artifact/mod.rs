//! Writes and reads the files between the stages, so that no reader ever sees half a file (docs/semantics.md, 3).
//!
//! A file is written as `.<name>.t<token>.tmp` in the same folder, fsynced and renamed, and then the folder is fsynced.
//! A file is read only after its digest was found to be the one that the stage before reported.
//!
//! `draft` writes a file, `digest` verifies one, and `disk` has the single steps: open, rename, lock, list.

mod digest;
mod disk;
mod draft;

pub use self::digest::{Hashed, copy_new, digest, open_verified, verify};
pub use self::disk::{
    EntryKind, Lock, Taken, create_folder, create_new, is_name_of, is_there, kind, list, lock_folder, open,
    open_folder, open_for_update, relocate, remove, size, swap, sync_folder, take_name, written_unix_ms,
};
pub use self::draft::{Draft, copy, is_being_written};
