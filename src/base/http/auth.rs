//! Which principal may make a call that changes state: bearer tokens, one or two per principal.
//!
//! A role hands its [`Policy`] to [`super::bind`], and there is no other way to a listener. The guard stands before all
//! routes, so that a route which the policy does not know is open to the operator only: forgetting one closes it.
//!
//! What only reads is open. A connection that changes its protocol (a WebSocket begins as a GET) may change state later
//! without another request, so it needs a permit of its own, and a route that the policy names for it.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use axum::RequestExt;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::metrics::Metrics;
use super::problem::Problem;
use super::upgrade;
pub use crate::base::config::Principal;
use crate::base::config::{Auth, Tokens};

/// Bytes of a token that is looked at; no configured one is longer.
const TOKEN_BYTES_MAX: usize = 1024;

/// Principals that a permit names beside the operator, at the most; no call has more kinds of callers.
const PARTIES_MAX: usize = 4;

/// Which principals may make a call: the operator, and those that are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit([Option<Principal>; PARTIES_MAX]);

/// A call as a policy sees it: the route that it matched and the decoded parameters of its path.
#[derive(Debug)]
pub struct Call<'a> {
    route: &'a str,
    parameters: HashMap<String, String>,
}

/// Which principals a role serves, and which calls each may make.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Whose calls are of use here. With a token of one of them the role may listen beyond loopback.
    pub serves: &'static [Principal],
    /// Which principals may make a call that changes state. What it does not know is [`Permit::OPERATOR`]'s.
    pub permit: fn(&Call<'_>) -> Permit,
    /// On which routes a connection may change its protocol, and for whom; none: it may not ([`Policy::NO_UPGRADE`]).
    pub upgrade: fn(&Call<'_>) -> Option<Permit>,
}

/// The tokens that are accepted at one moment.
#[derive(Clone)]
struct Keyring(Tokens);

/// Lets calls through to the routes of one role, or does not.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Shared with the settings: the tokens may be replaced while the role runs.
    auth: Auth,
    policy: Policy,
    metrics: Metrics,
}

impl Permit {
    /// The operator only.
    pub const OPERATOR: Self = Self([None; PARTIES_MAX]);

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
        while self.0[at].is_some() {
            at += 1;
        }
        self.0[at] = Some(principal);
        self
    }

    /// Whether this principal may.
    pub fn allows(self, principal: Principal) -> bool {
        principal == Principal::OPERATOR || self.0.contains(&Some(principal))
    }
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.0.iter().flatten().filter(|principal| **principal != Principal::OPERATOR);
        for (number, principal) in others.enumerate() {
            write!(f, "{}{}", if number == 0 { "" } else { ", " }, principal.name())?;
        }
        let more = self.0.iter().flatten().any(|principal| *principal != Principal::OPERATOR);
        write!(f, "{}{}", if more { " or " } else { "" }, Principal::OPERATOR.name())
    }
}

impl Call<'_> {
    /// The route as it was declared, with its parameters in braces.
    pub fn route(&self) -> &str {
        self.route
    }

    /// A parameter of the path; empty if the route has none of this name.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

impl Policy {
    /// The role has no route on which a connection may change its protocol.
    pub const NO_UPGRADE: fn(&Call<'_>) -> Option<Permit> = |_| None;

    /// The policy of a role that serves probes only: nothing there changes state.
    pub const fn probes(own: &'static [Principal]) -> Self {
        Self { serves: own, permit: |_| Permit::OPERATOR, upgrade: Self::NO_UPGRADE }
    }
}

impl Keyring {
    /// The keyring of these settings at this moment.
    fn new(auth: &Auth) -> Self {
        Self(auth.tokens())
    }

    /// Whether there is no token at all.
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a token of this principal.
    fn has(&self, principal: Principal) -> bool {
        self.0.iter().any(|token| token.principal == principal)
    }

    /// Whose token this is. It takes the same time for every token: digests are compared, all of them, to their ends.
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

impl Guard {
    /// The guard of a role with these settings.
    pub fn new(auth: &Auth, policy: Policy, metrics: &Metrics) -> Self {
        Self { auth: auth.clone(), policy, metrics: metrics.clone() }
    }

    fn keyring(&self) -> Keyring {
        Keyring::new(&self.auth)
    }

    /// Whether the role may listen beyond loopback: a token of a principal that it serves is set, or the settings
    /// insist.
    pub(super) fn may_face_others(&self) -> bool {
        let keyring = self.keyring();
        self.auth.insecure || self.policy.serves.iter().any(|principal| keyring.has(*principal))
    }

    /// The settings of which one has to be set before the role listens beyond loopback.
    pub(super) fn wanted(&self) -> String {
        let names: Vec<String> =
            self.policy.serves.iter().map(|principal| format!("auth.{}", principal.name())).collect();
        names.join(" or ")
    }

    /// The principals that the role serves and that have no token here: with any token set, their calls are refused.
    pub(super) fn locked_out(&self) -> Vec<&'static str> {
        let keyring = self.keyring();
        if keyring.is_empty() {
            return Vec::new();
        }
        let without = |principal: &&Principal| **principal != Principal::OPERATOR && !keyring.has(**principal);
        self.policy.serves.iter().filter(without).map(|principal| principal.name()).collect()
    }

    /// Without tokens only this machine is served: a page of another site whose name was made to lead here still names
    /// its own host.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        // HTTP/2 names the host in the URI.
        let in_uri = uri.authority().map(|authority| authority.as_str());
        let in_headers = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
        if !self.keyring().is_empty() || self.auth.insecure || in_uri.into_iter().chain(in_headers).all(is_local) {
            return Ok(());
        }
        let detail = "without tokens only calls to localhost are answered; set tokens ([auth]) to be called by a name";
        Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "foreign_host", detail))
    }

    /// Whether a call may go on.
    fn check(&self, method: &Method, call: Option<&Call<'_>>, headers: &HeaderMap) -> Result<(), Problem> {
        // Nothing that is read changes state, and what matches no route does nothing: services without routes of their
        // own, which would be the exception, are kept out by a test.
        let Some(call) = call.filter(|_| !matches!(*method, Method::GET | Method::HEAD)) else {
            return Ok(());
        };
        self.require((self.policy.permit)(call), call, headers)
    }

    /// Whether the connection of a call may change its protocol. What it does afterwards is no call any more, so this
    /// is the last time that a token is asked for.
    fn check_upgrade(&self, call: Option<&Call<'_>>, headers: &HeaderMap) -> Result<(), Problem> {
        let Some((call, permit)) = call.and_then(|call| Some((call, (self.policy.upgrade)(call)?))) else {
            return Err(upgrade::refused("this path does not change the protocol of its connection"));
        };
        self.require(permit, call, headers)
    }

    /// Whether a call comes with the token of one of these, if there is any token.
    fn require(&self, permit: Permit, call: &Call<'_>, headers: &HeaderMap) -> Result<(), Problem> {
        let keyring = self.keyring();
        if keyring.is_empty() {
            return Ok(());
        }
        let Some(principal) = presented(headers).and_then(|token| keyring.principal_of(token)) else {
            self.metrics.refused("unauthorized");
            return Err(Problem::unauthorized(permit));
        };
        if permit.allows(principal) {
            return Ok(());
        }
        self.metrics.refused("forbidden");
        log::warn!(route = call.route(), principal = principal.name(); "a call was refused: it needs the token of {permit}");
        Err(Problem::forbidden(principal.name(), permit))
    }
}

/// Whether a `Host` names this machine to itself.
fn is_local(host: &str) -> bool {
    let name = host.strip_prefix('[').map_or_else(|| host.split(':').next(), |rest| rest.split(']').next());
    let name = name.unwrap_or_default();
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The token of a request; none if there is none, more than one, or another scheme.
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, token) = value.as_bytes().split_at_checked("bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

/// Asks the guard before anything of the request is looked at but its head.
pub(super) async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let parameters = match request.extract_parts::<RawPathParams>().await {
        Ok(parameters) => parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        // Parameters that cannot be decoded count as none.
        Err(_) => HashMap::new(),
    };
    let call = route.as_ref().map(|route| Call { route: route.as_str(), parameters });
    // An offer of another protocol may be ignored (RFC 9110, 7.8): clients make it with ordinary requests. CONNECT is none.
    let is_named = call.as_ref().is_some_and(|call| (guard.policy.upgrade)(call).is_some());
    let asks = upgrade::asks(&request) && (is_named || request.method() == Method::CONNECT);
    if !asks {
        upgrade::take_away(&mut request);
    }
    let headers = request.headers();
    let checked = guard.check_host(request.uri(), headers).and_then(|()| {
        if asks {
            upgrade::check_body(request.body()).and_then(|()| guard.check_upgrade(call.as_ref(), headers))
        } else {
            guard.check(request.method(), call.as_ref(), headers)
        }
    });
    match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::base::config::Secret;

    const PRODUCER: Principal = Principal::new("producer");
    const SHARD_WORKER: Principal = Principal::new("shard_worker");
    const MYSQL_SENDER: Principal = Principal::new("mysql_sender");

    fn token(name: &str) -> String {
        format!("{name}-0123456789abcdef")
    }

    fn keyring(principals: &[Principal]) -> Auth {
        Auth::new(
            false,
            principals.iter().map(|principal| (*principal, Secret::new(token(principal.name())))).collect(),
        )
    }

    fn policy() -> Policy {
        Policy {
            serves: &[SHARD_WORKER, Principal::OPERATOR],
            permit: |call| if call.route() == "/work" { Permit::to(SHARD_WORKER) } else { Permit::OPERATOR },
            upgrade: |call| (call.route() == "/live").then_some(Permit::to(PRODUCER)),
        }
    }

    fn ask(auth: &Auth, method: &Method, route: &str, values: &[&str]) -> Result<(), u16> {
        let guard = Guard::new(auth, policy(), &Metrics::new());
        let call = Call { route, parameters: HashMap::new() };
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        guard.check(method, Some(&call), &headers).map_err(|problem| problem.status.as_u16())
    }

    #[test]
    fn without_tokens_only_this_machine_is_named() {
        for (host, local) in [
            ("localhost:8082", true),
            ("LOCALHOST", true),
            ("127.0.0.1:1", true),
            ("127.9.9.9", true),
            ("[::1]:8082", true),
            ("evil.example:8082", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1:8082", false),
            ("[2001:db8::1]:8082", false),
            ("", false),
        ] {
            assert_eq!(is_local(host), local, "{host}");
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_str(host).unwrap());
            let no_host = Uri::from_static("/");
            let answer =
                |auth: &Auth| Guard::new(auth, policy(), &Metrics::new()).check_host(&no_host, &headers).is_ok();
            assert_eq!(answer(&keyring(&[])), local, "{host}");
            assert!(answer(&keyring(&[SHARD_WORKER])) && answer(&Auth::new(true, Vec::new())), "{host}");
        }
    }

    #[test]
    fn a_token_opens_what_its_party_may_call_and_the_operators_opens_all() {
        let auth = keyring(&[SHARD_WORKER, MYSQL_SENDER, Principal::OPERATOR]);
        let bearer = |principal: Principal| format!("Bearer {}", token(principal.name()));
        for (principal, route, expected) in [
            (SHARD_WORKER, "/work", Ok(())),
            (SHARD_WORKER, "/other", Err(403)),
            (MYSQL_SENDER, "/work", Err(403)),
            (Principal::OPERATOR, "/work", Ok(())),
            (Principal::OPERATOR, "/other", Ok(())),
            (PRODUCER, "/work", Err(401)),
        ] {
            assert_eq!(ask(&auth, &Method::POST, route, &[&bearer(principal)]), expected, "{principal:?} {route}");
            assert_eq!(ask(&auth, &Method::DELETE, route, &[&bearer(principal)]), expected, "{principal:?} {route}");
            assert_eq!(ask(&auth, &Method::GET, route, &[]), Ok(()));
        }
    }

    #[test]
    fn only_one_header_of_the_right_scheme_with_the_whole_token_counts() {
        let auth = keyring(&[SHARD_WORKER]);
        let whole = token("shard_worker");
        for (value, expected) in [
            (format!("Bearer {whole}"), Ok(())),
            (format!("bearer   {whole}"), Ok(())),
            (format!("Basic {whole}"), Err(401)),
            (format!("Bearer{whole}"), Err(401)),
            (format!("Bearer {whole}x"), Err(401)),
            (format!("Bearer {}", &whole[1..]), Err(401)),
            (whole.clone(), Err(401)),
            ("Bearer".to_owned(), Err(401)),
            ("Bearer ".to_owned(), Err(401)),
            (String::new(), Err(401)),
        ] {
            assert_eq!(ask(&auth, &Method::POST, "/work", &[&value]), expected, "{value:?}");
        }
        let good = format!("Bearer {whole}");
        assert_eq!(ask(&auth, &Method::POST, "/work", &[&good, &good]), Err(401), "two headers");
        assert_eq!(ask(&auth, &Method::POST, "/work", &[]), Err(401));
    }

    #[test]
    fn without_tokens_all_is_open_and_with_any_of_them_nothing_is() {
        assert_eq!(ask(&keyring(&[]), &Method::POST, "/other", &[]), Ok(()));
        let auth = keyring(&[PRODUCER]);
        assert_eq!(ask(&auth, &Method::POST, "/work", &[]), Err(401));
        assert_eq!(ask(&auth, &Method::POST, "/work", &[&format!("Bearer {}", token("producer"))]), Err(403));
    }

    #[test]
    fn a_host_in_the_uri_counts_as_well() {
        let guard = Guard::new(&keyring(&[]), policy(), &Metrics::new());
        let local = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        for (uri, expected) in [("http://localhost:1/x", true), ("http://evil.example/x", false), ("/x", true)] {
            assert_eq!(guard.check_host(&Uri::from_static(uri), &local).is_ok(), expected, "{uri}");
            assert_eq!(guard.check_host(&Uri::from_static(uri), &HeaderMap::new()).is_ok(), expected, "{uri}");
        }
    }

    #[test]
    fn a_connection_changes_its_protocol_only_where_the_policy_names_it() {
        let ask = |auth: &Auth, route: Option<&'static str>, principal: Option<Principal>| {
            let call = route.map(|route| Call { route, parameters: HashMap::new() });
            let bearer = principal
                .map(|principal| HeaderValue::from_str(&format!("Bearer {}", token(principal.name()))).unwrap());
            let headers = bearer.map(|bearer| (AUTHORIZATION, bearer)).into_iter().collect();
            let guard = Guard::new(auth, policy(), &Metrics::new());
            guard.check_upgrade(call.as_ref(), &headers).map_err(|problem| problem.status.as_u16())
        };
        let auth = keyring(&[SHARD_WORKER, PRODUCER, Principal::OPERATOR]);
        for (route, principal, expected) in [
            (Some("/live"), Some(PRODUCER), Ok(())),
            (Some("/live"), Some(Principal::OPERATOR), Ok(())),
            (Some("/live"), Some(SHARD_WORKER), Err(403)),
            (Some("/live"), None, Err(401)),
            (Some("/work"), Some(Principal::OPERATOR), Err(400)),
            (None, Some(Principal::OPERATOR), Err(400)),
        ] {
            assert_eq!(ask(&auth, route, principal), expected, "{route:?} {principal:?}");
        }
        let without = keyring(&[]);
        assert_eq!((ask(&without, Some("/live"), None), ask(&without, Some("/work"), None)), (Ok(()), Err(400)));
    }

    #[test]
    fn a_permit_names_several() {
        let permit = Permit::to(PRODUCER).or(SHARD_WORKER);
        assert!(permit.allows(PRODUCER) && permit.allows(SHARD_WORKER));
        assert!(permit.allows(Principal::OPERATOR) && !permit.allows(MYSQL_SENDER));
        let text = [permit, Permit::to(PRODUCER), Permit::OPERATOR].map(|permit| permit.to_string());
        assert_eq!(text, ["producer, shard_worker or operator", "producer or operator", "operator"]);
    }

    #[test]
    fn both_tokens_of_a_change_are_known() {
        let tokens = [token("new"), token("old")].map(|text| (SHARD_WORKER, Secret::new(text)));
        let keyring = Keyring::new(&Auth::new(false, tokens.to_vec()));
        for name in ["new", "old"] {
            assert_eq!(keyring.principal_of(token(name).as_bytes()), Some(SHARD_WORKER));
        }
        assert_eq!(keyring.principal_of(b""), None);
        assert_eq!(format!("{keyring:?}"), "2 tokens");
    }

    #[test]
    fn a_role_faces_others_only_with_a_token_of_those_whom_it_serves() {
        let faces = |auth: &Auth| Guard::new(auth, policy(), &Metrics::new()).may_face_others();
        assert!(!faces(&keyring(&[])) && !faces(&keyring(&[PRODUCER])));
        assert!(faces(&keyring(&[SHARD_WORKER])) && faces(&keyring(&[Principal::OPERATOR])));
        assert!(faces(&Auth::new(true, Vec::new())));
    }

    #[test]
    fn those_who_have_no_token_here_are_named() {
        let locked = |auth: &Auth| Guard::new(auth, policy(), &Metrics::new()).locked_out();
        assert_eq!(locked(&keyring(&[Principal::OPERATOR])), ["shard_worker"]);
        assert!(locked(&keyring(&[SHARD_WORKER])).is_empty() && locked(&keyring(&[])).is_empty());
    }
}
