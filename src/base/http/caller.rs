//! Callers, known by their tokens.

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::metrics::Metrics;
use super::permit::Permit;
use super::problem::Problem;
use crate::base::config::{Auth, Principal, Tokens};

/// Bytes of a token that is looked at; no configured one is longer.
const TOKEN_BYTES_MAX: usize = 1024;

/// Who makes a call. Handlers find it in the extensions of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// No tokens are set: every caller may do everything.
    Anyone,
    /// Tokens are set, and the call came without one that is known.
    Unknown,
    /// The principal of this token.
    Known(Principal),
}

/// Knows callers by the tokens of the settings.
#[derive(Debug, Clone)]
pub struct Callers {
    /// Shared with the settings: the tokens may be replaced while the role runs.
    auth: Auth,
    metrics: Metrics,
}

/// The tokens that are accepted at one moment.
pub(super) struct Keyring(Tokens);

impl Caller {
    /// Whether the caller may make this call.
    pub fn may(self, permit: Permit) -> bool {
        match self {
            Self::Anyone => true,
            Self::Unknown => permit.is_open(),
            Self::Known(principal) => permit.allows(principal),
        }
    }

    /// What tells callers apart: the name of the principal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Unknown => "unknown",
            Self::Known(principal) => principal.name(),
        }
    }
}

impl Callers {
    /// The callers of a role with these settings.
    pub fn new(auth: &Auth, metrics: &Metrics) -> Self {
        Self { auth: auth.clone(), metrics: metrics.clone() }
    }

    /// The caller that sent these headers.
    pub fn of_headers(&self, headers: &HeaderMap) -> Caller {
        self.of_token(presented(headers))
    }

    /// The caller with these credentials: what an `Authorization` header says, where it came in another way.
    pub fn of_credentials(&self, credentials: &[u8]) -> Caller {
        self.of_token(bearer(credentials))
    }

    /// The principal of a token, if it is known.
    fn of_token(&self, token: Option<&[u8]>) -> Caller {
        let keyring = self.keyring();
        if keyring.is_empty() {
            return Caller::Anyone;
        }
        let token = token.filter(|token| token.len() <= TOKEN_BYTES_MAX);
        token.and_then(|token| keyring.principal_of(token)).map_or(Caller::Unknown, Caller::Known)
    }

    /// Lets a caller make a call, or counts a refusal. `call` names the call in the log.
    ///
    /// # Errors
    /// 401 `unauthorized` for a caller without a known token, 403 `forbidden` for one with the token of another
    /// principal.
    pub fn require(&self, caller: Caller, permit: Permit, call: &str) -> Result<(), Problem> {
        match caller {
            _ if caller.may(permit) => Ok(()),
            Caller::Known(principal) => {
                self.metrics.refused("forbidden");
                log::warn!(route = call, principal = principal.name(); "a call was refused: it needs the token of {permit}");
                Err(Problem::forbidden(principal.name(), permit))
            }
            Caller::Anyone | Caller::Unknown => {
                self.metrics.refused("unauthorized");
                Err(Problem::unauthorized(permit))
            }
        }
    }

    /// Whether a role that serves one of these may listen beyond loopback: a token of one is set, or the settings
    /// insist.
    pub(super) fn may_face_others(&self, serves: &[Principal]) -> bool {
        let keyring = self.keyring();
        self.auth.insecure || serves.iter().any(|principal| keyring.has(*principal))
    }

    /// Whether calls that name another host are answered: tokens tell who calls, or the settings insist.
    pub(super) fn may_be_named(&self) -> bool {
        !self.keyring().is_empty() || self.auth.insecure
    }

    pub(super) fn keyring(&self) -> Keyring {
        Keyring(self.auth.tokens())
    }
}

impl Keyring {
    /// Whether there is no token at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a token of this principal.
    pub(super) fn has(&self, principal: Principal) -> bool {
        self.0.iter().any(|token| token.principal == principal)
    }

    /// The principal of a token, if it is known. It takes the same time for every token: digests are compared, all of them, to their ends.
    fn principal_of(&self, presented: &[u8]) -> Option<Principal> {
        let digest: [u8; 32] = Sha256::digest(presented).into();
        // 0 is no principal.
        let mut found = 0_u8;
        for (number, token) in (1..).zip(self.0.iter()) {
            found.conditional_assign(&number, token.digest.ct_eq(&digest));
        }
        self.0.get(usize::from(found).checked_sub(1)?).map(|token| token.principal)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

/// The token of a request; none if there is none, more than one, or another scheme.
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return None;
    };
    bearer(value.as_bytes())
}

/// The token of credentials of the scheme `Bearer`.
fn bearer(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = credentials.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config::Secret;

    const READER: Principal = Principal::new("reader");
    const WRITER: Principal = Principal::new("writer");

    fn callers(principals: &[Principal]) -> Callers {
        let token = |principal: &Principal| (*principal, Secret::new(format!("{}-0123456789abcdef", principal.name())));
        Callers::new(&Auth::new(false, principals.iter().map(token).collect()), &Metrics::new())
    }

    #[test]
    fn both_tokens_of_a_change_are_known() {
        let token = |name: &str| (WRITER, Secret::new(format!("{name}-0123456789abcdef")));
        let callers = Callers::new(&Auth::new(false, vec![token("new"), token("old")]), &Metrics::new());
        for name in ["new", "old"] {
            let token = format!("{name}-0123456789abcdef");
            assert_eq!(callers.of_token(Some(token.as_bytes())), Caller::Known(WRITER));
        }
        assert_eq!(callers.of_token(Some(b"")), Caller::Unknown);
        assert_eq!(format!("{:?}", callers.keyring()), "2 tokens");
    }

    #[test]
    fn the_token_is_that_of_a_bearer() {
        assert_eq!(bearer(b"bearer  abc "), Some(&b"abc"[..]));
        assert_eq!((bearer(b"abc"), bearer(b"Basic abc"), bearer(b"")), (None, None, None));
        let (open, closed) = (callers(&[]), callers(&[WRITER]));
        assert_eq!(closed.of_credentials(b"BEARER writer-0123456789abcdef"), Caller::Known(WRITER));
        assert_eq!(closed.of_credentials(b"writer-0123456789abcdef"), Caller::Unknown);
        assert_eq!(open.of_credentials(b"Basic abc"), Caller::Anyone);
    }

    #[test]
    fn without_tokens_anyone_may_and_with_any_of_them_only_who_is_named() {
        let (open, closed) = (callers(&[]), callers(&[READER, WRITER]));
        assert_eq!((open.of_token(None), closed.of_token(None)), (Caller::Anyone, Caller::Unknown));
        let permit = Permit::to(WRITER);
        let code =
            |caller: Caller, permit: Permit| closed.require(caller, permit, "/x").err().map(|e| e.status.as_u16());
        assert_eq!(code(Caller::Anyone, permit), None);
        assert_eq!(code(Caller::Unknown, permit), Some(401));
        assert_eq!(code(Caller::Known(READER), permit), Some(403));
        assert_eq!(code(Caller::Known(WRITER), permit), None);
        assert_eq!(code(Caller::Known(Principal::OPERATOR), permit), None);
        assert_eq!((code(Caller::Unknown, Permit::ANYONE), code(Caller::Known(READER), Permit::ANYONE)), (None, None));
    }
}
