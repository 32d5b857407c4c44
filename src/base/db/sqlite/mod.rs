//! Embedded databases on SQLite: nothing to install, one file per database.

pub(crate) mod copy;
pub(crate) mod db;
pub(crate) mod fault;
pub(crate) mod migrate;
