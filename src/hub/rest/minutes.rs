//! Minutes, and what they add up to.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::list::{moment_of, type_of};
use super::view::MinuteResponse;
use crate::base::http::Problem;
use crate::base::http::error_responses::ErrorResponses;
use crate::base::http::extract::Query;
use crate::hub::api::Api;
use crate::hub::totals::{MINUTE, MINUTES_MAX, check_range};

/// Which minutes to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct MinutesQuery {
    /// Minutes that begin at this moment or later, RFC 3339.
    from: Option<String>,
    /// Minutes that begin before this moment, RFC 3339; without it now.
    to: Option<String>,
    /// Instead of `from`: so many minutes before `to`, 1 to 1,440; without both 60.
    minutes: Option<u32>,
    /// Of this type only.
    event_type: Option<String>,
}

/// Minutes, in the order of time and type.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct MinutesResponse {
    /// The minutes.
    items: Vec<MinuteResponse>,
}

/// Minutes, if the client does not say.
const MINUTES: u32 = 60;

/// What the events of each minute add up to, by the time at which they happened. At most a day of minutes at once.
#[utoipa::path(
    get, path = "/metrics/minutes", tag = "minutes",
    params(MinutesQuery),
    security(("bearer" = ["hub_reader"]), ("bearer" = ["operator"])),
    responses((status = 200, description = "The minutes in which anything happened.", body = MinutesResponse), ErrorResponses)
)]
pub(super) async fn list_minutes(
    State(api): State<Api>,
    Query(query): Query<MinutesQuery>,
) -> Result<axum::Json<MinutesResponse>, Problem> {
    let moment = |name: &str, text: &Option<String>| text.as_deref().map(|text| moment_of(name, text)).transpose();
    let to = moment("to", &query.to)?.unwrap_or_else(|| api.now().plus(MINUTE));
    let from = match (moment("from", &query.from)?, query.minutes) {
        (Some(_), Some(_)) => return Err(Problem::invalid("from and minutes are both given; one of them is enough")),
        (Some(from), None) => from,
        (None, minutes) => match minutes.unwrap_or(MINUTES) {
            minutes if (1..=MINUTES_MAX).contains(&minutes) => to.minus(MINUTE * minutes),
            _ => return Err(Problem::invalid(format!("minutes must be from 1 to {MINUTES_MAX}"))),
        },
    };
    check_range(from, to).map_err(Problem::invalid)?;
    let event_type = query.event_type.as_deref().map(type_of).transpose()?;
    let minutes = api.store().list_minutes(from, to, event_type.as_ref()).await?;
    Ok(axum::Json(MinutesResponse { items: minutes.into_iter().map(Into::into).collect() }))
}
