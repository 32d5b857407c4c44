//! Asks every database of the settings.

use crate::base::clock::Clock;
use crate::base::db::{Schema, StoreUrl, schema_state, server_facts, why_embedded_is_read_only};
use crate::pipeline::ops::doctor::facts::{DatabaseFact, DatabaseProblem, DatabaseState};
use crate::pipeline::schemas;
use crate::pipeline::settings::Settings;

/// What the databases say.
pub async fn databases(settings: &Settings, clock: &Clock) -> Vec<DatabaseFact> {
    let database = &settings.database;
    let mut all = vec![
        ("database.tracking".to_owned(), database.tracking.clone(), &schemas::TRACKING),
        ("database.balance".to_owned(), database.balance.clone(), &schemas::BALANCE),
        ("database.cache".to_owned(), database.cache.clone(), &schemas::CACHE),
    ];
    for shard in settings.pipeline.shards_count.shards() {
        if let Ok(url) = database.shard(shard) {
            all.push((format!("database.shard {shard}"), url, &schemas::SHARD));
        }
    }
    let mut facts = Vec::new();
    for (name, url, schema) in all {
        let state = state(&url, schema, clock).await.map_err(|e| {
            let (is_temporary, is_read_only) = (e.is_temporary(), e.is_read_only());
            DatabaseProblem { why: e.to_string(), is_temporary, is_read_only }
        });
        let packet_bytes_min = schema.packet_bytes_min() as u64;
        let is_embedded = matches!(url, StoreUrl::Sqlite(_));
        facts.push(DatabaseFact { name, place: url.to_string(), is_embedded, packet_bytes_min, state });
    }
    facts
}

async fn state(url: &StoreUrl, schema: &'static Schema, clock: &Clock) -> crate::base::db::Result<DatabaseState> {
    let schema = schema_state(url, schema).await?;
    let asked = clock.now().unix_ms();
    let server = server_facts(url).await?;
    let answered = clock.now().unix_ms();
    // It looked at its clock between the two.
    let ahead_ms = server.as_ref().map_or(0, |server| {
        let now = server.now.unix_ms();
        if now < asked { now - asked } else { (now - answered).max(0) }
    });
    let read_only = match url {
        StoreUrl::Sqlite(path) => why_embedded_is_read_only(path),
        StoreUrl::Mysql(_) => None,
    };
    Ok(DatabaseState { schema, server, ahead_ms, read_only })
}
