//! A section of the settings: one definition per key, next to the field that it becomes.
//!
//! ```text
//! section! {
//!     /// The pipeline and its tracking API.
//!     pub struct Pipeline in "pipeline" {
//!         /// milliseconds that a claimed task is held without a heartbeat
//!         pub lease as "lease_ms": Duration = millis(60_000, 100..=DAY_MS),
//!     }
//! }
//! ```
//!
//! is the struct `Pipeline` with its field `lease`, the setting `pipeline.lease_ms` as `Pipeline::KEYS.lease`, the list of
//! all keys as `Pipeline::SECTION`, and `Pipeline::read`. The comment above a field is the setting's meaning in all
//! documents; without `as` the setting is called as the field is. What a value may be and its default are a
//! [`Spec`]: a default of another type or out of range does not compile. After `beside` stand fields that are no settings.

use super::auth::Auth;
use super::key::Key;
use super::schema::Schema;
use super::spec::{Read, Spec};
use super::values::{Typed, Values};

/// Reads checked values into the structs of the sections, and collects what is wrong with them.
pub struct Reader<'a> {
    pub(super) values: &'a Values,
    pub(super) schema: &'a Schema,
    is_plain: bool,
    /// A mark in texts, and what it stands for.
    mark: Option<(&'static str, String)>,
    /// The tokens, once they are read: all systems share them.
    pub(super) auth: Option<Auth>,
    faults: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(values: &'a Values, schema: &'a Schema, is_plain: bool) -> Self {
        Self { values, schema, is_plain, mark: None, auth: None, faults: Vec::new() }
    }

    /// The value of a setting; none if there is a fault, which is noted.
    pub fn take<T>(&mut self, key: Key, spec: &Spec<T>) -> Option<T> {
        let value = self.values.get(key.path);
        let number = match value {
            Some(Typed::Int(number)) => Some(*number),
            _ => None,
        };
        let taken = match (&spec.read, value) {
            (Read::Text(parse), Some(Typed::Text(text))) => match &self.mark {
                Some((mark, meaning)) => parse(&text.replace(mark, meaning)),
                None => parse(text),
            },
            (Read::Int(make), Some(Typed::Int(number))) => make(*number).ok_or_else(String::new),
            (Read::OptionalInt(make), _) => make(number).ok_or_else(String::new),
            (Read::Rate(make), Some(Typed::Rate(rate))) => Ok(make(*rate)),
            (Read::Bool(make), Some(Typed::Bool(flag))) => Ok(make(*flag)),
            _ => Err(String::new()),
        };
        // A value of the key's kind that the type has no place for is told as one of another kind is.
        let fault = |why: String| if why.is_empty() { format!("{} is expected", key.expected()) } else { why };
        taken.map_err(|why| self.fault(format!("{}: {}", key.path, fault(why)))).ok()
    }

    /// Reads with a mark that stands for something else in all texts, as `{shared}` for a folder.
    pub fn with_mark<T>(&mut self, mark: &'static str, meaning: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.mark = Some((mark, meaning.to_owned()));
        let result = read(self);
        self.mark = None;
        result
    }

    /// Whether the environment asks for plain output, by `NO_COLOR`.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Notes what is wrong; systems that read the same section find the same.
    pub(super) fn fault(&mut self, fault: String) {
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    pub(super) fn into_faults(self) -> Vec<String> {
        self.faults
    }
}

/// Defines a section; the head of `base/config/section.rs` has an example.
macro_rules! section {
    (
        $(#[$attr:meta])*
        $vis:vis struct $Section:ident in $section:literal {
            $($(#[doc = $doc:literal])+ $field_vis:vis $field:ident $(as $name:literal)?: $type:ty = $spec:expr,)+
        }
        $(beside { $($(#[$beside_attr:meta])* $beside_vis:vis $beside:ident: $beside_type:ty = $beside_read:expr,)+ })?
    ) => {
        $(#[$attr])*
        #[derive(Debug, Clone)]
        $vis struct $Section {
            $(
                #[doc = concat!("`", $section, ".", $crate::base::config::section!(@name $field $($name)?), "`:", $($doc,)+ ".")]
                $field_vis $field: $type,
            )+
            $($($(#[$beside_attr])* $beside_vis $beside: $beside_type,)+)?
        }

        const _: () = {
            use $crate::base::config::{Key, Reader, Spec};

            /// The settings of a section, named as its fields are.
            #[derive(Debug, Clone, Copy)]
            $vis struct Keys {
                $(
                    #[doc = concat!("`", $section, ".", $crate::base::config::section!(@name $field $($name)?), "`.")]
                    $vis $field: Key,
                )+
            }

            impl $Section {
                /// The settings of the section, by its fields.
                $vis const KEYS: Keys = Keys {
                    $($field: {
                        const SPEC: Spec<$type> = $spec;
                        SPEC.key(
                            concat!($section, ".", $crate::base::config::section!(@name $field $($name)?)),
                            concat!($($doc),+),
                        )
                    },)+
                };
                /// The settings of the section, in the order of the documents.
                $vis const SECTION: &'static [Key] = &[$(Self::KEYS.$field),+];

                /// Reads the section; none if something is wrong with it, which the reader notes.
                $vis fn read(reader: &mut Reader<'_>) -> Option<Self> {
                    // All are read before any is missed, so that all faults are noted.
                    $(let $field = reader.take(Self::KEYS.$field, &{ const SPEC: Spec<$type> = $spec; SPEC });)+
                    $($(let $beside = $beside_read(reader);)+)?
                    Some(Self { $($field: $field?,)+ $($($beside,)+)? })
                }
            }
        };
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
}
pub(crate) use section;
