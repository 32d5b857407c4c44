//! Looking at accounts.

use axum::extract::State;

use super::Balance;
use crate::base::db::Error;
use crate::base::http::Problem;
use crate::base::http::extract::page_size;
use crate::base::http::extract::{Path, Query};
use crate::base::http::problem::ProblemBody;
use crate::pipeline::trade::wire::balance::{StatementParams, StatementResponse};
use crate::pipeline::trade::{Account, UserId};

/// A user's account. It comes about with the first operation that names the user.
#[utoipa::path(
    get, path = "/balances/{user_id}", tag = "accounts",
    params(("user_id" = i64, Path, minimum = 1, description = "The user.", example = 7)),
    responses(
        (status = 200, description = "The account.", body = Account),
        (status = 404, description = "No operation has named the user yet.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "This is no user's id.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_balance(
    State(balance): State<Balance>,
    Path(user): Path<String>,
) -> Result<axum::Json<Account>, Problem> {
    let user = user_of(&user)?;
    let account = balance.store.find_account(user).await?;
    account.map(axum::Json).ok_or_else(|| Error::Gone(format!("user {user}")).into())
}

/// A user's transactions, the newest first, page by page.
#[utoipa::path(
    get, path = "/balances/{user_id}/transactions", tag = "accounts",
    params(("user_id" = i64, Path, minimum = 1, description = "The user.", example = 7), StatementParams),
    responses(
        (status = 200, description = "A page of transactions.", body = StatementResponse),
        (status = 404, description = "No operation has named the user yet.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "This is no user's id, or a parameter is not right.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_transactions(
    State(balance): State<Balance>,
    Path(user): Path<String>,
    Query(params): Query<StatementParams>,
) -> Result<axum::Json<StatementResponse>, Problem> {
    let (user, limit) = (user_of(&user)?, page_size(params.limit)?);
    let page = balance.store.statement(user, params.cursor, limit).await?;
    Ok(axum::Json(StatementResponse::new(user, page)))
}

pub(super) fn user_of(text: &str) -> Result<UserId, Problem> {
    text.parse().map_err(|e| Problem::invalid(format!("{e}")))
}
