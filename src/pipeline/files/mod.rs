//! The files between the stages: their names and paths, how they are written, read and verified.
//!
//! [`folder`] names them. [`artifact`] writes and reads them, on paths on which no link is followed. [`prepared`] and
//! [`rejects`] are two kinds of lines in them; [`rejected`] reads the latter back. [`sort`] sorts lines in bounded
//! memory. [`hold`] keeps roles, backups and restores apart.

pub mod artifact;
pub mod folder;
pub mod hold;
mod no_follow;
pub mod prepared;
pub mod rejected;
pub mod rejects;
pub mod sort;
