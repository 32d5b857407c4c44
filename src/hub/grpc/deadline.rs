//! Deadlines of clients: a call that is not answered in time is given up.

use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use tonic::Status;

/// The header of the deadline (gRPC over HTTP/2, "Timeout").
const TIMEOUT: &str = "grpc-timeout";
/// Digits of it at the most.
const DIGITS_MAX: usize = 8;

/// Answers a call whose time is up with DEADLINE_EXCEEDED. What was begun may or may not have happened.
pub(super) async fn keep(request: Request, next: Next) -> Response {
    let Some(deadline) = deadline(request.headers()) else {
        return next.run(request).await;
    };
    let answered = tokio::time::timeout(deadline, next.run(request)).await;
    answered.unwrap_or_else(|_| Status::deadline_exceeded("the deadline of the call is over").into_http())
}

/// A number of up to eight digits and a unit; nothing for what is none, as the specification wants it.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= DIGITS_MAX)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn deadlines_are_numbers_with_a_unit() {
        for (text, expected) in [
            ("1S", Some(Duration::from_secs(1))),
            ("100m", Some(Duration::from_millis(100))),
            ("2H", Some(Duration::from_secs(7200))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("100000000n", None),
            ("S", None),
            ("", None),
            ("1s", None),
            ("-1S", None),
        ] {
            let headers = [(axum::http::HeaderName::from_static(TIMEOUT), HeaderValue::from_static(text))];
            assert_eq!(deadline(&headers.into_iter().collect()), expected, "{text}");
        }
    }
}
