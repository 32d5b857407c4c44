//! Databases: where they are, what can go wrong with them, their migrations, and a connection to each engine.
//!
//! SQL and driver errors end in the stores of the systems and here: callers see [`Error`] only. The statements of a
//! store are in the folder of its subject, one folder per engine.

pub mod embedded;
pub mod error;
pub mod facts;
pub mod migration;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
pub(crate) mod sqlite;
pub mod url;

pub use embedded::{check_embedded, copy_embedded, is_embedded_in_use, why_embedded_is_read_only};
#[cfg(not(feature = "mysql"))]
pub(crate) use error::without_mysql;
pub use error::{Error, Refusal, RefusalKind, Result};
pub use facts::{ServerFacts, server_facts};
pub use migration::{Schema, SchemaState, migrate, schema_state};
pub use url::{Server, StoreUrl, Tls};
