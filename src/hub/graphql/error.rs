//! What goes wrong, as GraphQL says it: a sentence, and codes in `extensions` that programs rely on.

use async_graphql::{Error, ErrorExtensions, ServerError};

use crate::base::bus::Cursor;
use crate::base::db;
use crate::base::http::Problem;
use crate::hub::model::Rejection;
use crate::hub::subscribe::End;

/// The key of the code in `extensions`.
const CODE: &str = "code";
/// The store, the bus or the hub itself is away: the call may come again.
const UNAVAILABLE: &str = "UNAVAILABLE";

/// An error with its code.
pub(super) fn coded(code: &str, message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, values| values.set(CODE, code))
}

/// The same of a whole request, which did nothing.
pub(super) fn of_request(code: &str, message: impl Into<String>) -> ServerError {
    let Error { message, extensions, .. } = coded(code, message);
    ServerError { extensions, ..ServerError::new(message, None) }
}

/// A parameter that is wrong.
pub(super) fn invalid(detail: impl Into<String>) -> Error {
    coded("BAD_USER_INPUT", detail)
}

/// A broken rule, with the reason code of all doors.
pub(super) fn rejected(rejection: Rejection) -> Error {
    let reason = rejection.reason.code();
    coded("EVENT_REJECTED", rejection.detail).extend_with(|_, values| values.set("reason", reason))
}

/// A caller that may not make the call.
pub(super) fn refused(problem: Problem) -> ServerError {
    let code = if problem.status == axum::http::StatusCode::FORBIDDEN { "FORBIDDEN" } else { "UNAUTHENTICATED" };
    of_request(code, problem.detail)
}

/// The store does not do it.
pub(super) fn failed(error: &db::Error) -> Error {
    match error {
        db::Error::Busy(_) | db::Error::Unavailable(_) => {
            log::warn!("the hub's database does not answer: {error}");
            coded(UNAVAILABLE, "the hub takes no events at the moment; try again")
        }
        db::Error::Refused(refusal) => coded(UNAVAILABLE, refusal.to_string()),
        db::Error::Invalid(why) => invalid(why.clone()),
        db::Error::Gone(what) => coded("NOT_FOUND", format!("{what} is unknown")),
        db::Error::Broken(_) | db::Error::Input(_) => {
            log::error!("a call of GraphQL failed: {error}");
            coded("INTERNAL_SERVER_ERROR", "something went wrong here; the log has the cause")
        }
    }
}

/// A subscription that is over, with the position with which the subscriber may come back.
pub(super) fn ended(end: &End) -> Error {
    let at = |code: &str, position: &Cursor| {
        coded(code, end.to_string()).extend_with(|_, values| values.set("position", position.to_string()))
    };
    match end {
        End::Lagged(position) => at("LAGGED", position),
        End::OutOfRange(oldest) => at("POSITION_EXPIRED", oldest),
        End::Stopping => coded(UNAVAILABLE, end.to_string()),
        End::Unavailable(why) => {
            log::warn!("the hub's bus does not answer: {why}");
            coded(UNAVAILABLE, "the bus does not answer; try again")
        }
    }
}
