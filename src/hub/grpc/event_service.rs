//! `event.EventService`, for clients of the hub's first version.

use futures_util::StreamExt;
use tonic::{Request, Response, Status};

use super::event_hub::{Answers, caller, subscription};
use super::pb::event::event_service_server::EventService;
use super::pb::event::{EventRequest, EventResponse, StreamRequest};
use super::status;
use crate::base::bus::Start;
use crate::hub::api::Api;
use crate::hub::measures::Door;
use crate::hub::model::{Draft, Field};
use crate::hub::service::Verdict;
use crate::hub::subscribe::Filter;

const SUCCESS: &str = "success";

/// The service.
pub(super) struct FirstVersion {
    api: Api,
}

impl FirstVersion {
    pub(super) fn new(api: Api) -> Self {
        Self { api }
    }
}

#[tonic::async_trait]
impl EventService for FirstVersion {
    type StreamEventsStream = Answers<EventResponse>;

    async fn send_event(&self, request: Request<EventRequest>) -> Result<Response<EventResponse>, Status> {
        let caller = caller(&request);
        let event = request.into_inner();
        let draft = Draft {
            user_id: Field::Text(event.user_id),
            event_type: Field::Text(event.event_type),
            amount: Field::from(event.amount),
            timestamp: Field::Text(event.timestamp),
            ..Draft::default()
        };
        let id = match self.api.accept(Door::Grpc, caller, Ok(draft)).await.map_err(|e| status::failed(&e))? {
            Verdict::Accepted(id) | Verdict::Duplicate(id) => id,
            Verdict::Rejected(rejection) => return Err(status::rejected(&rejection)),
        };
        let message = "Event saved successfully".to_owned();
        Ok(Response::new(EventResponse { event_id: id.to_string(), status: SUCCESS.to_owned(), message }))
    }

    async fn stream_events(&self, request: Request<StreamRequest>) -> Result<Response<Answers<EventResponse>>, Status> {
        let limit = request.into_inner().limit;
        let Ok(limit) = usize::try_from(limit) else {
            return Err(status::invalid("limit must not be negative; 0 is no limit"));
        };
        let events = subscription(&self.api, Start::First, Filter::default()).await?;
        let events = events.take(if limit == 0 { usize::MAX } else { limit }).map(|event| {
            event.map(|event| EventResponse {
                message: format!("{} {} {}", event.user_id, event.event_type, event.amount),
                event_id: event.id,
                status: SUCCESS.to_owned(),
            })
        });
        Ok(Response::new(Box::pin(events)))
    }
}
