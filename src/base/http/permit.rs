//! Which principals may make a call.

use std::fmt;

use crate::base::config::Principal;

/// Principals that a permit names beside the operator, at the most; no call has more kinds of callers.
const PRINCIPALS_MAX: usize = 4;

/// Which callers may make a call: the operator and the principals that are named, or anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    principals: [Option<Principal>; PRINCIPALS_MAX],
    is_open: bool,
}

impl Permit {
    /// The operator only.
    pub const OPERATOR: Self = Self { principals: [None; PRINCIPALS_MAX], is_open: false };
    /// Callers without a token, too: the call is open, or its handler asks for a token in its own way.
    pub const ANYONE: Self = Self { is_open: true, ..Self::OPERATOR };

    /// This principal and the operator.
    pub const fn to(principal: Principal) -> Self {
        Self::OPERATOR.or(principal)
    }

    /// This principal, too.
    ///
    /// # Panics
    /// Four are named already. Policies are constants of a role: the first call shows it.
    #[must_use]
    pub const fn or(mut self, principal: Principal) -> Self {
        let mut at = 0;
        while self.principals[at].is_some() {
            at += 1;
        }
        self.principals[at] = Some(principal);
        self
    }

    /// Whether no token is asked for.
    pub const fn is_open(self) -> bool {
        self.is_open
    }

    /// Whether this principal may.
    pub fn allows(self, principal: Principal) -> bool {
        self.is_open || principal == Principal::OPERATOR || self.principals.contains(&Some(principal))
    }
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.principals.iter().flatten().filter(|principal| **principal != Principal::OPERATOR);
        for (number, principal) in others.enumerate() {
            write!(f, "{}{}", if number == 0 { "" } else { ", " }, principal.name())?;
        }
        let more = self.principals.iter().flatten().any(|principal| *principal != Principal::OPERATOR);
        write!(f, "{}{}", if more { " or " } else { "" }, Principal::OPERATOR.name())
    }
}
