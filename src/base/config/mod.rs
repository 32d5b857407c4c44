//! Settings: defaults, file, environment, flags, in this order; checked whole at start (docs/contracts.md, 7).
//!
//! A system defines its sections by `section!`: one definition per key, a [`spec`] next to the field. It lists its
//! principals by `principals!`, and says in a [`Sections`] which sections its roles read. This module knows what every
//! role has: `[server]`, `[logging]` and the mechanism of `[auth]`.
//!
//! [`sources`] is where values come from, [`mod@load`] layers them, [`loaded`] shows and compares the outcome; `names`
//! knows the variables of the environment, and [`schema`] lists all keys. [`secret`] keeps tokens from being shown.

pub mod auth;
pub mod key;
pub mod load;
pub mod loaded;
mod names;
pub mod principal;
pub mod schema;
pub mod secret;
pub mod section;
mod sections;
pub mod sources;
pub mod spec;
#[cfg(test)]
pub mod test_system;
mod values;

pub use auth::{Auth, Tokens};
pub use key::Key;
pub use load::{Faults, load};
pub use loaded::Loaded;
pub(crate) use principal::principals;
pub use principal::{Listed, Principal};
pub use schema::Schema;
pub use secret::Secret;
pub use section::Reader;
pub(crate) use section::section;
pub use sections::{Folder, Logging, Server};
pub use sources::{Profile, Sources};
pub use spec::Spec;

/// The settings of a system, or of several together.
pub trait Sections: Sized {
    /// All keys, by section, and the principals.
    fn schema() -> Schema;

    /// Reads all sections; none if something is wrong with one of them, which the reader notes.
    fn read(reader: &mut Reader<'_>) -> Option<Self>;

    /// `[server]`.
    fn server(&self) -> &Server;

    /// `[logging]`.
    fn logging(&self) -> &Logging;

    /// `[auth]`.
    fn auth(&self) -> &Auth;
}

/// The address of a service, without a slash at its end.
///
/// # Errors
/// A sentence when it is no URL of HTTP, or has a user.
pub fn api_base(url: &str, example: &str) -> Result<String, String> {
    let url = url.trim_end_matches('/');
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match host {
        Some(host) if host.split('/').next().is_some_and(|authority| authority.contains('@')) => {
            Err("must have no user and no password; tokens are set in auth".to_owned())
        }
        Some(host) if !host.is_empty() && !host.starts_with('/') => Ok(url.to_owned()),
        _ => Err(format!("must be a URL such as {example}")),
    }
}
