//! What goes wrong, as gRPC says it.

use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::base::db::Error;
use crate::hub::model::{Reason, Rejection};
use crate::hub::subscribe::End;

/// When a client may try again.
const RETRY: Duration = Duration::from_secs(1);
/// The metadata that has the position with which a subscriber may come back.
const POSITION: &str = "position";

/// A broken rule, with the field and the reason code as `google.rpc.BadRequest`.
pub(super) fn rejected(rejection: &Rejection) -> Status {
    let Rejection { reason, detail } = rejection;
    let code = if *reason == Reason::IdempotencyKeyReused { Code::AlreadyExists } else { Code::InvalidArgument };
    let violation = FieldViolation {
        field: reason.field().unwrap_or_default().to_owned(),
        description: detail.clone(),
        reason: reason.code().to_owned(),
        ..FieldViolation::default()
    };
    Status::with_error_details(code, detail.clone(), ErrorDetails::with_bad_request(vec![violation]))
}

/// A parameter of a call that looks at events.
pub(super) fn invalid(detail: impl Into<String>) -> Status {
    Status::invalid_argument(detail)
}

/// The store does not do it.
pub(super) fn failed(error: &Error) -> Status {
    match error {
        Error::Busy(_) | Error::Unavailable(_) => {
            log::warn!("the hub's database does not answer: {error}");
            away("the hub takes no events at the moment; try again")
        }
        Error::Refused(refusal) => away(&refusal.to_string()),
        Error::Invalid(why) => invalid(why.clone()),
        Error::Gone(what) => Status::not_found(format!("{what} is unknown")),
        Error::Broken(_) | Error::Input(_) => {
            log::error!("a call of gRPC failed: {error}");
            Status::internal("something went wrong here; the log has the cause")
        }
    }
}

fn away(detail: &str) -> Status {
    Status::with_error_details(Code::Unavailable, detail, ErrorDetails::with_retry_info(Some(RETRY)))
}

/// A subscription that is over.
pub(super) fn ended(end: &End) -> Status {
    let mut metadata = MetadataMap::new();
    let code = match end {
        End::Lagged(position) | End::OutOfRange(position) => {
            if let Ok(position) = position.to_string().parse() {
                metadata.insert(POSITION, position);
            }
            if matches!(end, End::Lagged(_)) { Code::Aborted } else { Code::OutOfRange }
        }
        End::Unavailable(_) | End::Stopping => return away(&end.to_string()),
    };
    Status::with_metadata(code, end.to_string(), metadata)
}
