//! Moving money.

use axum::extract::State;

use super::Balance;
use super::accounts::user_of;
use crate::base::db::Error;
use crate::base::http::Problem;
use crate::base::http::error_responses::ErrorResponses;
use crate::base::http::extract::{Json, Path};
use crate::base::http::fault::to_the_end;
use crate::base::http::problem::ProblemBody;
use crate::pipeline::trade::wire::balance::{
    CreditRequest, CreditResponse, OperationsRequest, OperationsResponse, OutcomeItem,
};
use crate::pipeline::trade::{Answer, Operation, OperationKind};

/// Takes operations in their order, all in one transaction.
///
/// A debit that finds too little is `insufficient_funds`, for ever. A key that was used before is answered with what
/// came of it then. An error means that nothing of the call was done, or, with 503, that it may have been: repeat it.
#[utoipa::path(
    post, path = "/operations", tag = "operations",
    request_body = OperationsRequest,
    security(("bearer" = ["shard_worker"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "One outcome for each operation.", body = OperationsResponse),
        ErrorResponses,
        (status = 422, description = "A field is not right, a key was used for another operation, or a balance would become too large.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn apply(
    State(balance): State<Balance>,
    Json(request): Json<OperationsRequest>,
) -> Result<axum::Json<OperationsResponse>, Problem> {
    let keys: Vec<_> = request.operations.iter().map(|operation| operation.key.clone()).collect();
    let answers = take(&balance, request.operations).await?;
    let outcomes = keys.into_iter().zip(answers).map(|(key, answer)| OutcomeItem { key, outcome: answer.outcome });
    Ok(axum::Json(OperationsResponse { outcomes: outcomes.collect() }))
}

/// Puts money into an account by hand.
#[utoipa::path(
    post, path = "/balances/{user_id}/credit", tag = "accounts",
    params(("user_id" = i64, Path, minimum = 1, description = "The user.", example = 7)),
    request_body = CreditRequest,
    security(("bearer" = ["operator"])),
    responses(
        (status = 200, description = "The money is in the account, since now or since the key was used first.", body = CreditResponse),
        ErrorResponses,
        (status = 422, description = "A field is not right, the key was used for another operation, or the balance would become too large.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn credit(
    State(balance): State<Balance>,
    Path(user): Path<String>,
    Json(request): Json<CreditRequest>,
) -> Result<axum::Json<CreditResponse>, Problem> {
    let user = user_of(&user)?;
    let operation = Operation {
        key: request.idempotency_key,
        user,
        kind: OperationKind::Credit,
        amount: request.amount,
        reason: request.reason,
    };
    let answers = take(&balance, vec![operation]).await?;
    let account = balance.store.find_account(user).await?;
    let (Some(answer), Some(account)) = (answers.first(), account) else {
        return Err(Error::broken(format!("a credit of user {user} has no answer")).into());
    };
    Ok(axum::Json(CreditResponse { user_id: user, outcome: answer.outcome, balance: account.balance.to_string() }))
}

async fn take(balance: &Balance, operations: Vec<Operation>) -> Result<Vec<Answer>, Problem> {
    let store = balance.store.clone();
    let answers = to_the_end(async move { store.apply(&operations).await }).await?;
    balance.count(&answers);
    Ok(answers)
}
