//! What can go wrong in a store, in the words that callers act on.
//!
//! The text of an [`Error`] says everything once, what the driver said included. The driver's own error is its source,
//! for those who ask for it: who prints the text does not print the source as well.

use std::any::Any;
use std::fmt;

/// A store's answer, or why there is none.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a store did not do what it was asked.
#[derive(Debug)]
pub enum Error {
    /// What was named does not exist.
    Gone(String),
    /// The rules of the store's subject do not allow it; [`Error::refusal`] tells which one.
    Refused(Box<dyn Refusal>),
    /// The request cannot be meant so.
    Invalid(String),
    /// Another process holds the lock; the same call may succeed in a moment.
    Busy(Why),
    /// The database cannot be reached, is full or read-only: nothing is wrong with the request.
    Unavailable(Why),
    /// The data or the schema is not what it must be: a person has to look.
    Broken(Why),
    /// What was handed in could not be read to its end.
    Input(std::io::Error),
}

/// Why the rules of a subject do not allow a call. Each subject has its own type, which its store answers by `?`.
pub trait Refusal: Any + std::error::Error + Send + Sync {
    /// The stable short name.
    fn code(&self) -> &'static str;

    /// What kind of refusal it is.
    fn kind(&self) -> RefusalKind {
        RefusalKind::Conflict
    }

    /// The key of the caller that it is about, for programs.
    fn key(&self) -> Option<String> {
        None
    }
}

/// What a refusal means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The state does not allow it: another call was first.
    Conflict,
    /// It will never be taken.
    Invalid,
    /// The same call may be taken later.
    Later,
}

/// What is wrong with a database, for a person; with the driver's error, where there is one.
#[derive(Debug)]
pub struct Why {
    text: String,
    condition: Option<Condition>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What keeps a database from taking changes although it answers. Its code stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// There is no room.
    DiskFull,
    /// It takes no changes.
    ReadOnly,
}

/// What opening a database on a server comes to in a build that knows none.
#[cfg(not(feature = "mysql"))]
pub(crate) fn without_mysql<T>() -> Result<T> {
    Err(Error::Invalid("this build has no MySQL; build with --features mysql".to_owned()))
}

impl Error {
    /// [`Error::Busy`] with this text.
    pub fn busy(why: impl Into<Why>) -> Self {
        Self::Busy(why.into())
    }

    /// [`Error::Unavailable`] with this text.
    pub fn unavailable(why: impl Into<Why>) -> Self {
        Self::Unavailable(why.into())
    }

    /// [`Error::Broken`] with this text.
    pub fn broken(why: impl Into<Why>) -> Self {
        Self::Broken(why.into())
    }

    /// The refusal, if it is one of this subject.
    pub fn refusal<R: Refusal>(&self) -> Option<&R> {
        let Self::Refused(refusal) = self else {
            return None;
        };
        let any: &dyn Any = refusal.as_ref();
        any.downcast_ref()
    }

    /// The same error with the place named, where it is about the database.
    #[must_use]
    pub fn at(self, place: impl fmt::Display) -> Self {
        let at = |why: Why| why.reworded(|text| format!("{place}: {text}"));
        match self {
            Self::Busy(why) => Self::Busy(at(why)),
            Self::Unavailable(why) => Self::Unavailable(at(why)),
            Self::Broken(why) => Self::Broken(at(why)),
            other => other,
        }
    }

    /// Whether the database takes no changes.
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Unavailable(Why { condition: Some(Condition::ReadOnly), .. }))
    }

    /// Whether waiting may help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Busy(_) | Self::Unavailable(_) => true,
            Self::Refused(refusal) => refusal.kind() == RefusalKind::Later,
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(what) => write!(f, "{what} is unknown"),
            Self::Refused(refusal) => fmt::Display::fmt(refusal, f),
            Self::Invalid(why) => f.write_str(why),
            Self::Busy(why) => write!(f, "the database is busy: {why}"),
            Self::Unavailable(why) => write!(f, "the database is not available: {why}"),
            Self::Broken(why) => write!(f, "the database is broken: {why}"),
            Self::Input(e) => write!(f, "the input failed: {e}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Busy(why) | Self::Unavailable(why) | Self::Broken(why) => {
                why.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
            }
            Self::Refused(refusal) => refusal.source(),
            Self::Input(e) => Some(e),
            Self::Gone(_) | Self::Invalid(_) => None,
        }
    }
}

impl<R: Refusal> From<R> for Error {
    fn from(refusal: R) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Input(error)
    }
}

impl Why {
    /// What a driver's error comes to, in these words.
    pub(crate) fn of(source: impl std::error::Error + Send + Sync + 'static, text: impl Into<String>) -> Self {
        Self { text: text.into(), condition: None, source: Some(Box::new(source)) }
    }

    /// The same with what keeps the database from taking changes.
    #[must_use]
    pub(crate) fn under(self, condition: Condition) -> Self {
        Self { condition: Some(condition), ..self.reworded(|text| format!("{}: {text}", condition.code())) }
    }

    /// The same in other words.
    #[must_use]
    pub(crate) fn reworded(self, words: impl FnOnce(&str) -> String) -> Self {
        Self { text: words(&self.text), ..self }
    }

    /// What keeps the database from taking changes, if that is the cause.
    pub(crate) fn condition(&self) -> Option<Condition> {
        self.condition
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<String> for Why {
    fn from(text: String) -> Self {
        Self { text, condition: None, source: None }
    }
}

impl From<&str> for Why {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Condition {
    /// The stable short name (docs/errors.md).
    pub const fn code(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::ReadOnly => "database_read_only",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("one is enough")]
    struct Enough;

    impl Refusal for Enough {
        fn code(&self) -> &'static str {
            "enough"
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("another subject's")]
    struct Other;

    impl Refusal for Other {
        fn code(&self) -> &'static str {
            "other"
        }
    }

    #[test]
    fn the_text_says_everything_once_and_the_drivers_error_is_kept() {
        let driver = std::io::Error::other("no room left");
        let why = Why::of(driver, "no room left").under(Condition::DiskFull);
        let error = Error::Unavailable(why).at("/d/x.sqlite");
        assert_eq!(error.to_string(), "the database is not available: /d/x.sqlite: disk_full: no room left");
        assert_eq!(error.source().unwrap().to_string(), "no room left");
        assert!(error.source().unwrap().is::<std::io::Error>());
        assert!(Error::broken("x").source().is_none());
    }

    #[test]
    fn what_is_read_only_stays_so_whatever_it_is_called() {
        let why = Why::from("no").under(Condition::ReadOnly);
        let error = Error::Unavailable(why).at("here");
        assert!(error.is_read_only() && error.is_temporary());
        assert!(!Error::unavailable("database_read_only: as a text").is_read_only());
    }

    #[test]
    fn a_refusal_is_found_by_its_own_type() {
        let error = Error::from(Enough);
        assert_eq!(error.to_string(), "one is enough");
        assert!(error.refusal::<Enough>().is_some() && error.refusal::<Other>().is_none());
        assert!(!error.is_temporary() && Error::broken("x").refusal::<Enough>().is_none());
    }
}
