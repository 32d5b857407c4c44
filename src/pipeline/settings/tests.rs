//! The pipeline's settings: the defaults of the contract, and what only the pipeline can judge.

use std::path::Path;

use super::*;
use crate::base::config::{Sources, load};

fn settings(pairs: &[(&str, &str)], profile: &str) -> Result<Settings, Vec<String>> {
    let flags = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let environment = [("SHOPCTL_PROFILE".to_owned(), profile.to_owned())].into();
    let sources = Sources { flags, environment, folder: "/nonexistent".into(), ..Sources::default() };
    load(&sources).map(|loaded| loaded.settings).map_err(|faults| faults.0)
}

#[test]
fn containers_have_the_defaults_of_the_contract() {
    let s = settings(&[], "container").unwrap();
    assert_eq!((s.server.host.as_str(), s.server.port), ("0.0.0.0", None));
    assert_eq!(
        [s.server.read_timeout, s.server.write_timeout, s.server.idle_timeout].map(|d| d.as_secs()),
        [30, 30, 120]
    );
    assert_eq!((s.events.max_payload_size, s.events.max_batch_size, s.events.events_per_batch), (1_048_576, 1000, 5));
    assert_eq!((s.events.validation_timeout.as_secs(), s.events.generation_interval.as_secs()), (5, 10));
    assert_eq!((s.logging.level.as_str(), s.logging.json), ("INFO", true));
    assert_eq!(s.pipeline.url, "http://pipeline-apid:8082/api/v1/pipeline");
    assert_eq!(s.pipeline.shards_count.get(), 2);
    assert_eq!((s.shared.dir.as_path(), s.shared.cleanup), (Path::new("/shared"), Cleanup::Delivered));
    assert_eq!((s.shared.retention.as_secs(), s.cache.retention.as_secs()), (24 * 3600, 30 * 86_400));
    assert_eq!(s.database.tracking, StoreUrl::Sqlite("/shared/db/pipeline_db.sqlite".into()));
    let s = settings(&[], "local").unwrap();
    assert_eq!(s.pipeline.url, "http://127.0.0.1:8082/api/v1/pipeline");
    assert_eq!(s.database.cache, StoreUrl::Sqlite("./shared/db/cache_db.sqlite".into()));
}

#[test]
fn values_become_what_the_roles_work_with() {
    let flags = [
        ("pipeline.url", "http://h:1/"),
        ("balance.url", "https://h/b/"),
        ("balance.opening_balance", "100.00"),
        ("shared.dir", "/d"),
        ("shared.cleanup", "none"),
        ("worker.untracked_stock", "reject"),
        ("database.balance", "sqlite:///elsewhere.sqlite"),
    ];
    let s = settings(&flags, "local").unwrap();
    assert_eq!((s.pipeline.url.as_str(), s.balance.url.as_str()), ("http://h:1/api/v1/pipeline", "https://h/b"));
    assert_eq!(Some(s.balance.opening), Money::parse_decimal("100.00"));
    assert_eq!((s.shared.cleanup, s.worker.untracked_is_none), (Cleanup::None, true));
    assert_eq!(s.database.balance, StoreUrl::Sqlite("/elsewhere.sqlite".into()));
    let shard = s.database.shard(ShardId::new(3).unwrap());
    assert_eq!(shard, Ok(StoreUrl::Sqlite("/d/db/shop_shard_3.sqlite".into())));
}

#[test]
fn what_a_value_comes_to_is_judged_and_all_of_it_is_told_at_once() {
    let flags = [
        ("pipeline.url", "ftp:x"),
        ("balance.url", "http://user:canary@h"),
        ("cache.url", "http:///x"),
        ("balance.opening_balance", "much"),
        ("database.tracking", "postgres://x"),
        ("database.shard", "sqlite:///d/x.sqlite"),
        ("logging.level", "shop=loud"),
        ("auth.operator", "short"),
    ];
    let faults = settings(&flags, "local").unwrap_err();
    assert_eq!(faults.len(), flags.len(), "{faults:#?}");
    for (key, _) in flags {
        assert!(faults.iter().any(|fault| fault.starts_with(&format!("{key}: "))), "{key} in {faults:#?}");
    }
    assert!(!faults.concat().contains("canary"), "{faults:#?}");
    assert!(faults.contains(&"pipeline.url: must be a URL such as http://127.0.0.1:8082".to_owned()), "{faults:#?}");
    assert!(faults.contains(&"balance.opening_balance: must be an amount such as 100.00".to_owned()), "{faults:#?}");
}
