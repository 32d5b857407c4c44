//! What an operator does with rejected lines: finds them, looks at them, has them decided anew (docs/semantics.md, 6).
//!
//! [`filter`] says which lines are meant, [`scan`] goes through the files. [`counted`] counts lines by [`groups`];
//! [`history`] tells where a line came from and where redrives have put it; [`prediction`] says what would be refused
//! again; [`redrive_log`] remembers what was redriven into which file; [`redrive`] does it; [`summary`] tells what of an
//! import was rejected. Rejects files themselves are never changed.

pub mod counted;
pub mod filter;
pub mod groups;
pub mod history;
pub mod prediction;
pub mod redrive;
pub mod redrive_log;
pub mod scan;
pub mod summary;

pub use crate::pipeline::files::rejected::{LineAt, Raw, Rejected};
pub use filter::{FileRange, Filter, Prefix};
pub use redrive_log::{Note, RedriveLog};
