//! `event_hub.v1.EventHub`.

use std::pin::Pin;

use futures_util::{Stream, stream};
use tonic::{Request, Response, Status, Streaming};

use super::pb::event_hub::event_hub_server::EventHub;
use super::pb::event_hub::{
    Ack, AggregatedMetricsRequest, AggregatedMetricsResponse, Event, LastEventsRequest, LastEventsResponse,
    SubscribeRequest, Summary,
};
use super::{message, publish, status};
use crate::base::bus::Start;
use crate::base::http::Caller;
use crate::hub::api::{Api, start_of};
use crate::hub::measures::Door;
use crate::hub::model::{EventType, UserId};
use crate::hub::service::Verdict;
use crate::hub::store::{PAGE_MAX, Query};
use crate::hub::subscribe::Filter;
use crate::hub::totals::MINUTES_MAX;

/// The metadata that names an event, for callers that cannot put the key into it.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Events of a list, if the client does not say.
const LAST: u32 = 5;

/// Answers of a call that has many.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service.
pub(super) struct Hub {
    api: Api,
}

impl Hub {
    pub(super) fn new(api: Api) -> Self {
        Self { api }
    }
}

/// Who makes a call: the guard of the listener has found out.
pub(super) fn caller<T>(request: &Request<T>) -> Caller {
    request.extensions().get().copied().unwrap_or(Caller::Unknown)
}

#[tonic::async_trait]
impl EventHub for Hub {
    type PublishStream = Answers<Ack>;
    type SubscribeStream = Answers<Event>;

    async fn send_event(&self, request: Request<Event>) -> Result<Response<Ack>, Status> {
        let caller = caller(&request);
        let key = request.metadata().get(IDEMPOTENCY_KEY).map(|key| key.to_str().unwrap_or("\u{fffd}").to_owned());
        let draft = message::draft(request.into_inner(), key.as_deref());
        match self.api.accept(Door::Grpc, caller, draft).await.map_err(|e| status::failed(&e))? {
            Verdict::Rejected(rejection) => Err(status::rejected(&rejection)),
            verdict => Ok(Response::new(message::ack(verdict, String::new()))),
        }
    }

    async fn send_events(&self, request: Request<Streaming<Event>>) -> Result<Response<Summary>, Status> {
        let caller = caller(&request);
        publish::summary(self.api.clone(), caller, request.into_inner()).await.map(Response::new)
    }

    async fn publish(&self, request: Request<Streaming<Event>>) -> Result<Response<Answers<Ack>>, Status> {
        let caller = caller(&request);
        Ok(Response::new(Box::pin(publish::acks(self.api.clone(), caller, request.into_inner()))))
    }

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Answers<Event>>, Status> {
        let wanted = request.into_inner();
        let start = start_of(Some(&wanted.after)).map_err(status::invalid)?;
        let types = wanted.event_types.iter().map(|name| event_type(name));
        let filter = Filter { user_id: user(&wanted.user_id)?, event_types: types.collect::<Result<_, _>>()? };
        subscription(&self.api, start, filter).await.map(Response::new)
    }

    async fn last_events(&self, request: Request<LastEventsRequest>) -> Result<Response<LastEventsResponse>, Status> {
        let wanted = request.into_inner();
        let limit = if wanted.limit == 0 { LAST } else { wanted.limit } as usize;
        if limit > PAGE_MAX {
            return Err(status::invalid(format!("limit must be from 1 to {PAGE_MAX}")));
        }
        let name = Some(wanted.event_type.as_str()).filter(|name| !name.is_empty());
        let event_type = name.map(event_type).transpose()?;
        let query = Query { user_id: user(&wanted.user_id)?, event_type, limit, ..Query::default() };
        let events = self.api.store().list_events(&query).await.map_err(|e| status::failed(&e))?;
        Ok(Response::new(LastEventsResponse { events: events.iter().map(message::stored).collect() }))
    }

    async fn aggregated_metrics(
        &self,
        request: Request<AggregatedMetricsRequest>,
    ) -> Result<Response<AggregatedMetricsResponse>, Status> {
        let minutes = request.into_inner().minutes.max(1);
        if minutes > MINUTES_MAX {
            return Err(status::invalid(format!("minutes must be from 1 to {MINUTES_MAX}")));
        }
        let totals = self.api.totals(minutes).await.map_err(|e| status::failed(&e))?;
        Ok(Response::new(message::totals(&totals)))
    }
}

/// The events of a subscription, until it ends.
pub(super) async fn subscription(api: &Api, start: Start, filter: Filter) -> Result<Answers<Event>, Status> {
    let watch = api.subscribe(Door::Grpc, start, filter).await.map_err(|end| status::ended(&end))?;
    let events = stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(shown) => Some((Ok(message::shown(&shown, watch.cursor())), Some(watch))),
            Err(end) => Some((Err(status::ended(&end)), None)),
        }
    });
    Ok(Box::pin(events))
}

fn user(name: &str) -> Result<Option<UserId>, Status> {
    if name.is_empty() {
        return Ok(None);
    }
    let refused = || status::invalid("user_id must have 1 to 128 characters, none of them a control");
    UserId::new(name).map(Some).ok_or_else(refused)
}

fn event_type(name: &str) -> Result<EventType, Status> {
    EventType::new(name).ok_or_else(|| status::invalid("event_type is no name of a type"))
}
