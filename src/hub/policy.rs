//! Which callers may make which call of the hub. Events are people's purchases: as soon as there is a token, reading
//! needs one, too.

use super::api::{READS, READS_OR_WRITES, WRITES};
use super::settings::{HUB_READER, HUB_WRITER};
use super::{graphql, grpc};
use crate::base::http::auth::Call;
use crate::base::http::{Permit, Policy, Principal};

/// The calls of the hub. A route that is not named here is open to the operator only, and to readers if it only reads.
pub const POLICY: Policy = Policy { serves: &[HUB_WRITER, HUB_READER, Principal::OPERATOR], permit, read, upgrade };

fn permit(call: &Call<'_>) -> Permit {
    match call.route() {
        "/events" | "/events/batch" => WRITES,
        // The operation tells what is needed: it is in the body.
        graphql::ROUTE => READS_OR_WRITES,
        grpc::EVENT_HUB | grpc::EVENT_SERVICE => grpc_permit(call.parameter(grpc::METHOD)),
        grpc::HEALTH => Permit::ANYONE,
        route if grpc::REFLECTION.contains(&route) => Permit::ANYONE,
        _ => Permit::OPERATOR,
    }
}

/// Every call of gRPC is a POST: which one it is tells whether it changes anything.
fn grpc_permit(method: &str) -> Permit {
    match method {
        "SendEvent" | "SendEvents" | "Publish" => WRITES,
        "Subscribe" | "LastEvents" | "AggregatedMetrics" | "StreamEvents" => READS,
        _ => Permit::OPERATOR,
    }
}

fn read(call: &Call<'_>) -> Permit {
    match call.route() {
        // The page is open; operations are asked for their token by the handler.
        graphql::ROUTE | graphql::SOCKET => Permit::ANYONE,
        route if graphql::PAGE.contains(&route) => Permit::ANYONE,
        // Probes, and what tells of the API and not of events.
        "/health" | "/ready" | "/version" | "/metrics" | "/openapi.json" => Permit::ANYONE,
        // What a call of gRPC may do does not depend on the method of HTTP that carries it.
        grpc::EVENT_HUB | grpc::EVENT_SERVICE => grpc_permit(call.parameter(grpc::METHOD)),
        _ => READS,
    }
}

/// On a WebSocket the token may come in the first message, because browsers cannot set headers; the handler asks for it.
fn upgrade(call: &Call<'_>) -> Option<Permit> {
    matches!(call.route(), graphql::ROUTE | graphql::SOCKET).then_some(Permit::ANYONE)
}
