//! Events that are kept: a page of them, and one.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::view::EventResponse;
use crate::base::http::Problem;
use crate::base::http::error_responses::ErrorResponses;
use crate::base::http::extract::{Path, Query};
use crate::base::http::problem::ProblemBody;
use crate::base::timestamp::Timestamp;
use crate::hub::api::Api;
use crate::hub::model::{EventType, UserId};
use crate::hub::store::{self, Order, PAGE_MAX, Place};

/// Events of a page, if the client does not say.
const PAGE: usize = 50;

/// Which events to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Go on behind this place: `next` of the page before.
    after: Option<String>,
    /// So many events at the most, 1 to 200.
    limit: Option<usize>,
    /// Of this user only.
    user_id: Option<String>,
    /// Of this type only.
    event_type: Option<String>,
    /// That happened at this moment or later, RFC 3339.
    from: Option<String>,
    /// That happened before this moment, RFC 3339.
    to: Option<String>,
    /// `newest` (first) or `oldest`, by the time at which they happened.
    order: Option<ListOrder>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
/// By the time at which the events happened.
pub(super) enum ListOrder {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

/// A page of events.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ListResponse {
    /// The events.
    items: Vec<EventResponse>,
    /// Where the next page begins; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Events by the time at which they happened.
#[utoipa::path(
    get, path = "/events", tag = "events",
    params(ListQuery),
    security(("bearer" = ["hub_reader"]), ("bearer" = ["operator"])),
    responses((status = 200, description = "A page of events.", body = ListResponse), ErrorResponses)
)]
pub(super) async fn list_events(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<ListResponse>, Problem> {
    let limit = page_size(query.limit)?;
    // One more tells whether there is a next page.
    let wanted = store::Query { limit: limit + 1, ..query.wanted()? };
    let mut events = api.store().list_events(&wanted).await?;
    let next = (events.len() > limit)
        .then(|| events.truncate(limit))
        .and_then(|()| events.last())
        .map(|last| Place::of(last).to_string());
    Ok(axum::Json(ListResponse { items: events.into_iter().map(EventResponse::stored).collect(), next }))
}

/// One event by its id.
#[utoipa::path(
    get, path = "/events/{id}", tag = "events",
    params(("id" = Uuid, Path, description = "The hub's id.")),
    security(("bearer" = ["hub_reader"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "The event.", body = EventResponse),
        ErrorResponses,
        (status = 404, description = "There is no such event, or not any more.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_event(
    State(api): State<Api>,
    Path(id): Path<Uuid>,
) -> Result<axum::Json<EventResponse>, Problem> {
    let found = api.store().find_event(id).await?;
    let found = found.ok_or_else(|| Problem::not_found(format_args!("the event {id}")))?;
    Ok(axum::Json(EventResponse::stored(found)))
}

impl ListQuery {
    fn wanted(&self) -> Result<store::Query, Problem> {
        Ok(store::Query {
            user_id: self.user_id.as_deref().map(user_of).transpose()?,
            event_type: self.event_type.as_deref().map(type_of).transpose()?,
            from: self.from.as_deref().map(|text| moment_of("from", text)).transpose()?,
            to: self.to.as_deref().map(|text| moment_of("to", text)).transpose()?,
            after: self.after.as_deref().map(place_of).transpose()?,
            order: match self.order.unwrap_or_default() {
                ListOrder::Newest => Order::Newest,
                ListOrder::Oldest => Order::Oldest,
            },
            limit: 0,
        })
    }
}

fn page_size(limit: Option<usize>) -> Result<usize, Problem> {
    // The store's own limit leaves room for the one that tells of a next page.
    match limit.unwrap_or(PAGE) {
        limit if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
        _ => Err(Problem::invalid(format!("limit must be from 1 to {PAGE_MAX}"))),
    }
}

pub(super) fn user_of(text: &str) -> Result<UserId, Problem> {
    UserId::new(text).ok_or_else(|| Problem::invalid("user_id must have 1 to 128 characters, none of them a control"))
}

pub(super) fn type_of(text: &str) -> Result<EventType, Problem> {
    EventType::new(text).ok_or_else(|| Problem::invalid("event_type is no name of a type"))
}

pub(super) fn moment_of(name: &str, text: &str) -> Result<Timestamp, Problem> {
    Timestamp::read(text).map_err(|e| Problem::invalid(format!("{name} is {e}")))
}

fn place_of(text: &str) -> Result<Place, Problem> {
    text.parse().map_err(|()| Problem::invalid("after must be the 'next' of another page"))
}
