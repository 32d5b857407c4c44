//! The refusals that many calls have in common, for the OpenAPI documents.
//!
//! A call that has more to say of one of these statuses lists it after this set: the later description replaces the
//! earlier one. The variants are descriptions: no such value is ever made.

use utoipa::IntoResponses;

use super::problem::ProblemBody;

/// Of every call that changes something, or takes a body.
#[derive(Debug, IntoResponses)]
pub enum ErrorResponses {
    /// The body is no JSON.
    #[response(status = 400, content_type = "application/problem+json")]
    NoJson(ProblemBody<'static>),
    /// There is no token, or one of no principal.
    #[response(status = 401, content_type = "application/problem+json")]
    NoToken(ProblemBody<'static>),
    /// The token is that of a principal that may not do this.
    #[response(status = 403, content_type = "application/problem+json")]
    OtherToken(ProblemBody<'static>),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemBody<'static>),
    /// A field is not right.
    #[response(status = 422, content_type = "application/problem+json")]
    WrongField(ProblemBody<'static>),
    /// The database does not answer.
    #[response(status = 503, content_type = "application/problem+json")]
    Away(ProblemBody<'static>),
}
