//! `shopctl migrate`: the schemas of all databases but the workers' own.
//!
//! Every role brings the databases it opens up to date by itself; this does it beforehand, as a user who may, and
//! creates databases that are missing. Run: `shopctl migrate up`, `shopctl migrate status`.

use serde_json::json;

use crate::base::boot::{Exit, Failure, say, say_json};
use crate::base::db::{Schema, SchemaState, StoreUrl, schema_state};
use crate::base::output::OutputArgs;
use crate::pipeline::schemas;
use crate::pipeline::settings::Context;
use crate::pipeline::settings::Settings;

/// Creates missing databases, applies what is missing in them, or shows how far they are.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl migrate status
  shopctl migrate up
  SHOPCTL__DATABASE__TRACKING=mysql://admin:...@127.0.0.1/pipeline_db shopctl migrate up

The databases are database.tracking, database.balance, database.cache and, for each of
pipeline.shards_count shards, database.shard. Running it twice changes nothing; roles that start
meanwhile wait.
Exit codes: 0 up to date, 1 something is missing or failed, 64 bad usage or settings, 75 a database does not answer.")]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with the schemas.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    /// Create missing databases and apply missing migrations
    Up(OutputArgs),
    /// Show how far each database is; changes nothing
    Status(OutputArgs),
}

/// Migrates, or shows how far the databases are.
///
/// # Errors
/// [`Failure`] when a database does not answer or cannot be migrated.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    let (is_up, output) = match args.action {
        Action::Up(output) => (true, output),
        Action::Status(output) => (false, output),
    };
    let (mut exit, mut lines) = (Exit::Ok, Vec::new());
    for (url, schema) in databases(&ctx.settings)? {
        if is_up {
            crate::base::db::migrate(&url, schema).await?;
        }
        let state = schema_state(&url, schema).await?;
        let (is_current, text) = describe(state);
        if !is_current {
            exit = Exit::Failed;
        }
        if output.is_json() {
            let (applied, known) = state.map_or((None, None), |state| (Some(state.applied), Some(state.known)));
            let url = url.to_string();
            lines.push(
                json!({"database": url, "applied": applied, "known": known, "is_current": is_current, "state": text}),
            );
        } else {
            say(&format!("{url}: {text}\n"))?;
        }
    }
    if output.is_json() {
        say_json(&json!({"databases": lines}))?;
    }
    Ok(exit)
}

/// Whether a database is as it must be, and how far it is.
fn describe(state: Option<SchemaState>) -> (bool, String) {
    match state {
        Some(state) if state.is_current() => (true, format!("schema {}, up to date", state.applied)),
        Some(state) if state.applied > state.known => {
            (false, format!("schema {}, newer than this program, which knows {}", state.applied, state.known))
        }
        Some(state) => (false, format!("schema {} of {}; run 'shopctl migrate up'", state.applied, state.known)),
        None => (false, "there is no such database; run 'shopctl migrate up'".to_owned()),
    }
}

fn databases(settings: &Settings) -> Result<Vec<(StoreUrl, &'static Schema)>, Failure> {
    let mut databases = vec![
        (settings.database.tracking.clone(), &schemas::TRACKING),
        (settings.database.balance.clone(), &schemas::BALANCE),
        (settings.database.cache.clone(), &schemas::CACHE),
    ];
    for shard in settings.pipeline.shards_count.shards() {
        databases.push((settings.database.shard(shard).map_err(Failure::usage)?, &schemas::SHARD));
    }
    Ok(databases)
}
