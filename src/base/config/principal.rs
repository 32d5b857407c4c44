//! Who has a token and makes calls with it. Each system lists its own by `principals!`; the operator is of every system.

use super::key::{Key, KeyKind};

/// The section of the tokens.
pub(super) const SECTION: &str = "auth";

/// Who has a token and makes calls with it, by the name in the settings below `auth.`, in problems and in the APIs'
/// documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal(&'static str);

impl Principal {
    /// A person who looks after all of it: every call is open.
    pub const OPERATOR: Self = Self::new("operator");

    /// The principal of this name. Systems list theirs by `principals!`, so that each has the settings of a token.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name.
    pub const fn name(self) -> &'static str {
        self.0
    }
}

/// A principal with the settings of the token.
#[derive(Debug, Clone, Copy)]
pub struct Listed {
    /// The principal that the token belongs to.
    pub principal: Principal,
    /// The setting of the token.
    pub token: Key,
    /// The setting of the file that has the token instead.
    pub file: Key,
}

impl Listed {
    /// A principal with the paths and the meanings of both settings.
    pub const fn new(principal: Principal, token: [&'static str; 2], file: [&'static str; 2]) -> Self {
        let ([token, token_doc], [file, file_doc]) = (token, file);
        Self {
            principal,
            token: Key::bare(token, KeyKind::Secret, token_doc),
            file: Key::bare(file, KeyKind::Text, file_doc),
        }
    }
}

/// The operator's settings.
pub(super) const OPERATOR: Listed = Listed::new(
    Principal::OPERATOR,
    ["auth.operator", "token of the people who run all this; it opens every call"],
    ["auth.operator_file", "file with the token of the operators"],
);

/// Lists the principals of a system: a constant for each, and `LISTED` with all of them. The comment says who it is; the
/// texts are the meanings of the settings `auth.NAME` and `auth.NAME_file`.
macro_rules! principals {
    ($($(#[doc = $doc:literal])+ $NAME:ident = $name:literal, token: $token:literal, file: $file:literal;)+) => {
        $($(#[doc = $doc])+ pub const $NAME: $crate::base::config::Principal = $crate::base::config::Principal::new($name);)+

        /// All principals of this system, in the order of the documents.
        pub const LISTED: &[$crate::base::config::Listed] = &[$($crate::base::config::Listed::new(
            $NAME,
            [concat!("auth.", $name), $token],
            [concat!("auth.", $name, "_file"), $file],
        )),+];
    };
}
pub(crate) use principals;
