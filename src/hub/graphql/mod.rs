//! GraphQL, the third door (docs/event-hub.md): queries, mutations, and subscriptions over WebSocket and server-sent
//! events.
//!
//! ```text
//! POST, GET ---.
//! SSE ----------+--> Engine: limits, rights --> the schema (query, mutation, subscription) --> Api
//! WebSocket ---'
//! ```

mod engine;
mod error;
mod filter;
mod http;
mod limits;
mod mutation;
mod page;
mod query;
mod scalar;
mod socket;
mod sse;
mod subscription;
mod view;

use axum::Router;
use axum::routing::{get, post};

use self::engine::Engine;
use super::api::Api;
use crate::base::http::Routes;

/// Everything but the page's files.
pub(super) const ROUTE: &str = "/graphql";
/// WebSockets, for clients that expect them at a place of their own.
pub(super) const SOCKET: &str = "/graphql/ws";
/// The files of the page.
pub(super) const PAGE: [&str; 2] = ["/graphql/page.js", "/graphql/page.css"];

/// All routes of GraphQL. A POST has a body with limits; what comes by GET may go on without an end.
pub fn routes(api: Api) -> Routes {
    let engine = Engine::new(api);
    let calls = Router::new()
        .route(ROUTE, post(http::post))
        .route(PAGE[0], get(page::script))
        .route(PAGE[1], get(page::style))
        .with_state(engine.clone());
    let streams = Router::new().route(ROUTE, get(http::get)).route(SOCKET, get(http::get)).with_state(engine);
    Routes { calls, streams }
}
