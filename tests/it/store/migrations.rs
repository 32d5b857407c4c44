//! Migrations: numbered alike in every dialect, applied once, harmless to rows that are there.

use shopctl::base::db::{SchemaState, schema_state};

use super::*;

on_every_backend! {
    a_missing_database_is_told_and_made
    rows_survive_what_is_done_again
    many_starts_migrate_once
    a_newer_schema_is_worked_on_as_it_is
}

async fn a_missing_database_is_told_and_made(backend: &dyn Backend) {
    for (url, kind) in [
        (backend.tracking(), &schemas::TRACKING),
        (backend.shard(shard(0)), &schemas::SHARD),
        (backend.balance(), &schemas::BALANCE),
        (backend.cache(), &schemas::CACHE),
    ] {
        assert_eq!(schema_state(&url, kind).await.unwrap(), None);
        migrate(&url, kind).await.unwrap();
        let SchemaState { applied, known } = schema_state(&url, kind).await.unwrap().unwrap();
        assert!(applied == known && known >= 1, "{applied} of {known}");
    }
}

async fn rows_survive_what_is_done_again(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 2).await;
    migrate(&backend.tracking(), &schemas::TRACKING).await.unwrap();
    let again = World::open(backend).await;
    assert_eq!(again.tracking.summary().await.unwrap().total, 2);
}

async fn many_starts_migrate_once(backend: &dyn Backend) {
    let url = backend.tracking();
    let starts = (0..6).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { migrate(&url, &schemas::TRACKING).await })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
    World::open(backend).await.ready(1, 1).await;
}

async fn a_newer_schema_is_worked_on_as_it_is(backend: &dyn Backend) {
    let url = backend.tracking();
    migrate(&url, &schemas::TRACKING).await.unwrap();
    let known = schema_state(&url, &schemas::TRACKING).await.unwrap().unwrap().known;
    let newer = match &url {
        StoreUrl::Sqlite(_) => format!("PRAGMA user_version = {}", known + 1),
        StoreUrl::Mysql(_) => {
            format!("INSERT INTO schema_migration VALUES ({}, 'of tomorrow', 1, '2030-01-01')", known + 1)
        }
    };
    backend.change(&url, &newer).await;
    migrate(&url, &schemas::TRACKING).await.unwrap();
    World::open(backend).await.ready(1, 1).await;
    let state = schema_state(&url, &schemas::TRACKING).await.unwrap().unwrap();
    assert_eq!(state.applied, known + 1);
}

/// The same numbers and names in both dialects, without gaps.
#[test]
fn both_dialects_have_the_same_migrations() {
    let list = |dialect: &str, kind: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("db/migrations").join(dialect).join(kind);
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<String> = files.collect();
        files.sort();
        files
    };
    for kind in ["tracking", "shard", "balance", "cache"] {
        let files = list("sqlite", kind);
        assert_eq!(files, list("mysql", kind));
        for (index, file) in files.iter().enumerate() {
            assert!(file.starts_with(&format!("{:04}_", index + 1)), "{file}");
        }
    }
}
