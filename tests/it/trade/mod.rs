//! balance-daemon and cache-service as a client meets them: real processes, real connections.

mod answers;
mod crash;
mod lag;
mod pairs;
mod repeat;
mod scarce;
mod served;
mod wire;
mod year;

use std::net::SocketAddr;

use crate::api::process::call;
use crate::auth::{all_tokens, check, documented, start};
use crate::support::pipeline::Pipeline;

#[test]
fn every_change_needs_the_token_that_the_document_names() {
    for (role, own) in [("balance", "/api/v1/operations"), ("cache", "/api/v1/pending/put")] {
        let pipeline = Pipeline::new(&[]);
        let process = start(&pipeline, &[role], &all_tokens(&pipeline));
        let addr = SocketAddr::from(([127, 0, 0, 1], process.wait_ready()));
        let document = call(addr, "GET", "/openapi.json", &[], "").json();
        let mut changes = 0;
        for (path, methods) in document["paths"].as_object().unwrap() {
            let filled = path.replace("{user_id}", "7").replace("{order_id}", "7");
            for (method, operation) in methods.as_object().unwrap() {
                let principals = documented(operation);
                if method == "get" {
                    assert!(principals.is_empty(), "{path}: reading needs no token");
                    assert!(![401, 403].contains(&call(addr, "GET", &filled, &[], "").status), "{path}");
                    continue;
                }
                changes += 1;
                assert!(principals.contains("operator"), "{method} {path} has no security");
                assert_eq!(principals.contains("shard_worker"), !path.ends_with("/credit"), "{path}");
                check(addr, &method.to_uppercase(), &filled, &principals);
            }
        }
        assert!(changes >= 2 && document["paths"][own].is_object(), "{changes}");
    }
}

#[test]
fn a_database_that_does_not_answer_makes_the_role_not_ready() {
    // No process listens on port 1.
    let nowhere = "mysql://root@127.0.0.1:1/nothing";
    for (role, key, path) in [("balance", "balance", "/api/v1/balances/7"), ("cache", "cache", "/api/v1/orders/7")] {
        let pipeline = Pipeline::new(&[]);
        let process = start(&pipeline, &[role], &[format!("database.{key}={nowhere}")]);
        let addr = SocketAddr::from(([127, 0, 0, 1], process.wait_port()));
        assert_eq!(call(addr, "GET", "/health", &[], "").status, 200);
        let mut ready = call(addr, "GET", "/ready", &[], "");
        crate::support::eventually("it says that it is not ready", crate::support::PATIENCE, || {
            ready = call(addr, "GET", "/ready", &[], "");
            ready.status == 503
        });
        assert!(ready.body.contains("database: "), "{ready:?}");
        let answer = call(addr, "GET", path, &[], "");
        assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("unavailable")), "{answer:?}");
        assert_eq!(answer.header("retry-after"), "1");
    }
}
