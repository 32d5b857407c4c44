//! What may be changed: events come in.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};

use super::error::{coded, failed, invalid, rejected};
use super::scalar::{DateTime, Decimal, Json};
use crate::base::http::Caller;
use crate::hub::api::Api;
use crate::hub::measures::Door;
use crate::hub::model::{Draft, Field};
use crate::hub::service::{BatchOutcome, Verdict};
use crate::hub::store::ACCEPTED_MAX;

/// The mutations.
pub(super) struct Mutation {
    pub(super) api: Api,
}

/// An event as it is sent.
#[derive(Debug, InputObject)]
pub(super) struct EventInput {
    /// 1 to 128 characters, no control characters.
    user_id: String,
    /// purchase, return, refund, or another one that the hub was told of.
    event_type: String,
    /// 0 to 10^12 with at most four decimals; a number, or a string of digits.
    amount: Decimal,
    /// RFC 3339; without an offset it is UTC. At most five minutes ahead of the hub's clock.
    timestamp: DateTime,
    /// 1 to 255 visible ASCII characters. The same key with the same event is answered as the first time.
    idempotency_key: Option<String>,
    /// At most 8 KiB and 8 levels.
    attributes: Option<Json>,
}

/// An event that is kept.
#[derive(Debug, SimpleObject)]
pub(super) struct SendResult {
    /// The hub's id.
    id: ID,
    /// Whether it was kept before: the key is known.
    duplicate: bool,
    /// success
    status: &'static str,
}

/// What became of the events of a batch.
#[derive(Debug, SimpleObject)]
pub(super) struct BatchResult {
    /// Events that were taken now.
    accepted: usize,
    /// Events that were there already.
    duplicates: usize,
    /// The ids of both, in the order of the batch.
    ids: Vec<ID>,
    /// The others.
    rejected: Vec<RejectedEvent>,
}

/// An event of a batch that was not taken.
#[derive(Debug, SimpleObject)]
pub(super) struct RejectedEvent {
    /// Which one, from 0.
    index: usize,
    /// The reason code.
    reason: &'static str,
    /// One sentence.
    detail: String,
}

/// Sends events.
#[Object]
impl Mutation {
    /// Takes one event. It is durable when it is answered, and on its way to subscribers and minutes. A broken rule is an
    /// error whose `extensions.reason` has the code.
    async fn send_event(&self, ctx: &Context<'_>, event: EventInput) -> Result<SendResult> {
        let verdict = self.api.accept(Door::Graphql, caller(ctx), Ok(event.into())).await.map_err(|e| failed(&e))?;
        let result = |id: uuid::Uuid, duplicate| SendResult { id: ID(id.to_string()), duplicate, status: "success" };
        match verdict {
            Verdict::Accepted(id) => Ok(result(id, false)),
            Verdict::Duplicate(id) => Ok(result(id, true)),
            Verdict::Rejected(rejection) => Err(rejected(rejection)),
        }
    }

    /// Takes up to 10,000 events in one transaction. What is wrong with one of them leaves the others as they are.
    async fn send_events(&self, ctx: &Context<'_>, events: Vec<EventInput>) -> Result<BatchResult> {
        match events.len() {
            0 => return Err(invalid("the batch is empty")),
            1..=ACCEPTED_MAX => {}
            more => {
                let detail = format!("{more} events at once; at most {ACCEPTED_MAX} are taken");
                return Err(coded("BATCH_TOO_LARGE", detail));
            }
        }
        let drafts = events.into_iter().map(|event| Ok(event.into())).collect();
        let verdicts = self.api.accept_all(Door::Graphql, caller(ctx), drafts).await;
        Ok(BatchOutcome::from(verdicts.map_err(|e| failed(&e))?).into())
    }
}

/// Who makes the call.
fn caller(ctx: &Context<'_>) -> Caller {
    ctx.data_opt().copied().unwrap_or(Caller::Unknown)
}

impl From<EventInput> for Draft {
    fn from(event: EventInput) -> Self {
        Self {
            user_id: Field::Text(event.user_id),
            event_type: Field::Text(event.event_type),
            amount: event.amount.0,
            timestamp: Field::Text(event.timestamp.0),
            idempotency_key: event.idempotency_key.into(),
            attributes: event.attributes.map_or(Field::Missing, Field::from),
            unknown: None,
        }
    }
}

impl From<BatchOutcome> for BatchResult {
    fn from(outcome: BatchOutcome) -> Self {
        let rejected = outcome.rejected.into_iter().map(|(index, rejection)| RejectedEvent {
            index,
            reason: rejection.reason.code(),
            detail: rejection.detail,
        });
        Self {
            accepted: outcome.accepted,
            duplicates: outcome.duplicates,
            ids: outcome.ids.iter().map(|id| ID(id.to_string())).collect(),
            rejected: rejected.collect(),
        }
    }
}
