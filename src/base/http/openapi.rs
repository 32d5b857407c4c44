//! What the OpenAPI documents of all services have in common.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use utoipa::Modify;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

/// These routes, and at `/openapi.json` the document that is made of their declarations.
pub fn with_document<S: Clone + Send + Sync + 'static>(documented: OpenApiRouter<S>, state: S) -> Router {
    let (router, document) = documented.split_for_parts();
    let document = Arc::new(document);
    router.with_state(state).route("/openapi.json", get(move || async move { Json(document.as_ref().clone()) }))
}

/// Adds the scheme by which tokens are sent to the document.
#[derive(Debug, Clone, Copy)]
pub struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut OpenApi) {
        let what = "The token of the principal that the call names, or of the operator. Asked for as soon as the server has any token.";
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(what)).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}
