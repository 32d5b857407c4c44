//! gRPC, the second door (docs/event-hub.md): `event_hub.v1.EventHub`, and `event.EventService` for the clients of the
//! hub's first version; health and reflection beside them. The services are in `protos/`.

mod deadline;
mod event_hub;
mod event_service;
mod framing;
mod message;
pub mod pb;
mod publish;
mod status;

use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::post_service;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use self::event_hub::Hub;
use self::event_service::FirstVersion;
use self::pb::event::event_service_server::EventServiceServer;
use self::pb::event_hub::event_hub_server::EventHubServer;
use super::api::Api;
use crate::base::boot::Failure;
use crate::base::http::Routes;
use crate::base::shutdown::Stop;

/// Bytes of a message that a client sends.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a question about health: the name of a service. Callers need no token for it.
const PROBE_BYTES_MAX: usize = 4 * 1024;
/// What the descriptors of the services are.
const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("descriptors");
/// The parameter of a route that is the name of the method.
pub(super) const METHOD: &str = "method";
/// The services whose calls the hub's policy knows.
pub(super) const EVENT_HUB: &str = "/event_hub.v1.EventHub/{method}";
/// The same for clients of the first version.
pub(super) const EVENT_SERVICE: &str = "/event.EventService/{method}";
/// Whether the hub serves.
pub(super) const HEALTH: &str = "/grpc.health.v1.Health/{method}";
/// What there is.
pub(super) const REFLECTION: [&str; 2] =
    ["/grpc.reflection.v1.ServerReflection/{method}", "/grpc.reflection.v1alpha.ServerReflection/{method}"];

/// All routes of gRPC. A message that has begun must be complete after `patience`.
///
/// # Errors
/// [`Failure`] when the descriptors of this build are broken.
pub fn routes(api: &Api, patience: Duration) -> Result<Routes, Failure> {
    let broken = |e: tonic_reflection::server::Error| Failure::new(format!("the descriptors of gRPC are broken: {e}"));
    let reflection =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    let (reporter, health) = health_reporter();
    tokio::spawn(report(reporter, api.stop().clone()));
    let hub = EventHubServer::new(Hub::new(api.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let first = EventServiceServer::new(FirstVersion::new(api.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let streams = Router::new()
        .route(EVENT_HUB, post_service(hub))
        .route(EVENT_SERVICE, post_service(first))
        .route(HEALTH, post_service(health.max_decoding_message_size(PROBE_BYTES_MAX)))
        .route(REFLECTION[0], post_service(reflection().build_v1().map_err(broken)?))
        .route(REFLECTION[1], post_service(reflection().build_v1alpha().map_err(broken)?))
        .layer(from_fn(deadline::keep))
        .layer(from_fn_with_state(patience, framing::watch));
    Ok(Routes { calls: Router::new(), streams })
}

/// Says that the hub and its services serve; at the stop not any more, which ends the streams of those that watch.
async fn report(mut reporter: HealthReporter, stop: Stop) {
    const SERVICES: [&str; 3] = ["", "event_hub.v1.EventHub", "event.EventService"];
    for service in SERVICES {
        reporter.set_service_status(service, ServingStatus::Serving).await;
    }
    stop.requested().await;
    for service in SERVICES {
        reporter.set_service_status(service, ServingStatus::NotServing).await;
        reporter.clear_service_status(service).await;
    }
}
