//! What all transports of GraphQL share: an operation is checked, and then run.

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{ExecutableDocument, OperationType};
use async_graphql::{Request, Response, Schema, ServerError, Value, Variables};
use axum::http::StatusCode;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde::Deserialize;

use super::error::{of_request, refused};
use super::mutation::Mutation;
use super::query::Query;
use super::subscription::Subscription;
use super::{ROUTE, limits};
use crate::base::http::{Caller, Permit};
use crate::hub::api::{Api, READS, WRITES};
use crate::hub::measures::Timed;

/// Directives of one field.
const DIRECTIVES_MAX: usize = 8;
/// The code of a document that does not fit the schema.
const NOT_VALID: &str = "GRAPHQL_VALIDATION_FAILED";

/// What a client sends.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ask {
    /// The document.
    pub(super) query: Option<String>,
    /// Which of its operations, where it has several.
    pub(super) operation_name: Option<String>,
    /// The variables.
    #[serde(default)]
    pub(super) variables: Variables,
}

/// An operation that may be run.
pub(super) struct Operation {
    pub(super) kind: OperationType,
    request: Request,
}

/// A request that did nothing.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The status over HTTP.
    pub(super) status: StatusCode,
    /// The error.
    pub(super) error: Box<ServerError>,
}

/// Checks operations and runs them; cloning shares it.
#[derive(Clone)]
pub(super) struct Engine {
    api: Api,
    schema: Schema<Query, Mutation, Subscription>,
}

impl From<ServerError> for Refusal {
    fn from(error: ServerError) -> Self {
        Self { status: StatusCode::OK, error: Box::new(error) }
    }
}

impl Engine {
    /// The engine over what all doors share.
    pub(super) fn new(api: Api) -> Self {
        let (query, mutation) = (Query { api: api.clone() }, Mutation { api: api.clone() });
        // Depth and complexity are counted by `limits`, before the schema sees a document.
        let builder =
            Schema::build(query, mutation, Subscription { api: api.clone() }).limit_directives(DIRECTIVES_MAX);
        // Suggestions would tell the names one by one.
        let has_names = api.settings().introspection;
        let builder = if has_names { builder } else { builder.disable_introspection().disable_suggestions() };
        Self { schema: builder.finish(), api }
    }

    /// What all doors share.
    pub(super) fn api(&self) -> &Api {
        &self.api
    }

    /// Checks an operation: its cost, and whether the caller may.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was done.
    pub(super) fn prepare(&self, ask: Ask, caller: Caller) -> Result<Operation, Refusal> {
        let text = ask.query.filter(|text| !text.trim().is_empty());
        let text = text.ok_or_else(|| of_request("BAD_REQUEST", "the document is missing: 'query' has it"))?;
        limits::check_text(&text)?;
        let document = parse_query(&text).map_err(|e| parse_error(e.into()))?;
        limits::check_document(&document, self.api.settings().introspection)?;
        let kind = kind_of(&document, ask.operation_name.as_deref())?;
        let permit = if kind == OperationType::Mutation { WRITES } else { READS };
        self.require(caller, permit)?;
        let mut request = Request::new(text).variables(ask.variables).data(caller);
        request.operation_name = ask.operation_name;
        request.set_parsed_query(document);
        Ok(Operation { kind, request })
    }

    /// Lets a caller make a call, or does not.
    ///
    /// # Errors
    /// [`Refusal`]: 401 or 403.
    pub(super) fn require(&self, caller: Caller, permit: Permit) -> Result<(), Refusal> {
        let checked = self.api.callers().require(caller, permit, ROUTE);
        checked.map_err(|problem| Refusal { status: problem.status, error: Box::new(refused(problem)) })
    }

    /// Runs an operation that has one answer.
    pub(super) async fn execute(&self, operation: Operation) -> Response {
        let timed = self.timed(operation.kind);
        timed.passed(named(self.schema.execute(operation.request).await))
    }

    /// Runs any operation.
    pub(super) fn stream(&self, operation: Operation) -> BoxStream<'static, Response> {
        let timed = self.timed(operation.kind);
        // It is measured when the stream is dropped.
        self.schema.execute_stream(operation.request).map(move |response| timed.passed(named(response))).boxed()
    }

    fn timed(&self, kind: OperationType) -> Timed {
        self.api.measures().graphql(match kind {
            OperationType::Query => "query",
            OperationType::Mutation => "mutation",
            OperationType::Subscription => "subscription",
        })
    }
}

/// Whether a response says that nothing was done.
pub(super) fn is_refusal(response: &Response) -> bool {
    response.data == Value::Null && response.is_err() && response.errors.iter().all(|error| error.path.is_empty())
}

/// What kind the operation of this name is.
fn kind_of(document: &ExecutableDocument, name: Option<&str>) -> Result<OperationType, Refusal> {
    let mut all = document.operations.iter();
    let operation = match name.filter(|name| !name.is_empty()) {
        Some(name) => all.find(|(own, _)| own.is_some_and(|own| own.as_str() == name)),
        None if all.len() == 1 => all.next(),
        None => None,
    };
    let missing = || of_request("BAD_REQUEST", "operationName must name an operation of the document");
    Ok(operation.map(|(_, operation)| operation.node.ty).ok_or_else(missing)?)
}

fn parse_error(error: ServerError) -> ServerError {
    let locations = error.locations;
    ServerError { locations, ..of_request("GRAPHQL_PARSE_FAILED", error.message) }
}

/// The same, with a code on what has none: errors of the validation.
fn named(mut response: Response) -> Response {
    for error in &mut response.errors {
        if error.extensions.is_none() && error.path.is_empty() {
            error.extensions = of_request(NOT_VALID, "").extensions;
        }
    }
    response
}
