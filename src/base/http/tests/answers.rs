//! Every refusal is a problem body, whichever layer refuses.

use super::*;

#[tokio::test]
async fn good_requests_are_answered() {
    let served = start(|_| ()).await;
    assert!(served.ask("POST /sale", "", r#"{"count":7}"#).await.ends_with("\r\n\r\n7"));
    assert!(served.get("/shop/3?count=4").await.ends_with("\r\n\r\n7"));
    assert!(served.get("/health").await.ends_with(r#"{"status":"ok"}"#));
    assert!(served.get("/version").await.contains(r#""version":""#));
    let answer = served.ask("GET /health", "x-request-id: mine\r\n", "").await;
    assert!(answer.contains("x-request-id: mine"), "{answer}");
}

#[tokio::test]
async fn unknown_path_and_wrong_method_are_problems() {
    let served = start(|_| ()).await;
    assert_problem(&served.get("/nowhere").await, 404, "not_found");
    let answer = served.ask("POST /health", "", "").await;
    assert_problem(&answer, 405, "method_not_allowed");
    assert!(answer.contains("allow: GET,HEAD"), "{answer}");
}

#[tokio::test]
async fn bad_bodies_queries_and_paths_are_problems() {
    let served = start(|_| ()).await;
    assert_problem(&served.ask("POST /sale", "", "{\"count\":").await, 400, "bad_json");
    assert_problem(&served.ask("POST /sale", "", "").await, 400, "bad_json");
    assert_problem(&served.ask("POST /sale", "", r#"{"count":-1}"#).await, 422, "invalid");
    assert_problem(&served.get("/shop/3?count=x").await, 422, "invalid");
    assert_problem(&served.get("/shop/x?count=1").await, 404, "not_found");
}

#[tokio::test]
async fn oversized_body_is_refused_before_and_while_it_comes() {
    let served = start(|_| ()).await;
    let large = "1".repeat(1 << 20);
    assert_problem(&served.ask("POST /sale", "", &large).await, 413, "too_large");
    let head = "POST /sale HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = served.send(&format!("{head}800\r\n{}\r\n0\r\n\r\n", "1".repeat(0x800))).await;
    assert_problem(&rest(&mut stream).await, 413, "too_large");
}

#[tokio::test]
async fn panic_in_a_handler_is_a_500_and_is_counted() {
    let served = start(|_| ()).await;
    assert_problem(&served.get("/panic").await, 500, "internal");
    let scrape = served.get("/metrics").await;
    assert!(scrape.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{scrape}");
    let counted = r#"http_request_duration_seconds_count{method="GET",route="/panic",status="500"} 1"#;
    assert!(scrape.contains(counted), "{scrape}");
}

#[tokio::test]
async fn another_origin_may_read_but_not_write() {
    let served = start(|_| ()).await;
    let body = r#"{"count":7}"#;
    assert_problem(&served.ask("POST /sale", "origin: http://evil\r\n", body).await, 403, "cross_origin");
    assert!(served.ask("POST /sale", "origin: http://localhost\r\n", body).await.starts_with("HTTP/1.1 200"));
    assert!(served.ask("GET /health", "origin: http://evil\r\n", "").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn handler_that_takes_too_long_is_given_up() {
    let served = start(|limits| limits.total_timeout = SHORT).await;
    let answer = served.get("/wait").await;
    assert_problem(&answer, 503, "timeout");
    assert!(answer.contains("retry-after: 1"), "{answer}");
}

#[tokio::test]
async fn ready_names_every_unmet_condition() {
    let served = start(|_| ()).await;
    assert!(served.get("/ready").await.ends_with(r#"{"status":"ready"}"#));
    served.readiness.set("database", Some("cannot connect".to_owned()));
    served.readiness.set("folder", Some("is missing".to_owned()));
    let answer = served.get("/ready").await;
    assert_problem(&answer, 503, "not_ready");
    assert!(answer.contains("database: cannot connect; folder: is missing"), "{answer}");
    served.readiness.set("database", None);
    served.readiness.set("folder", None);
    assert!(served.get("/ready").await.starts_with("HTTP/1.1 200"));
    served.readiness.begin_drain();
    assert_problem(&served.get("/ready").await, 503, "not_ready");
}
