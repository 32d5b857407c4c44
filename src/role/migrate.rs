//! `shopctl migrate`: the schemas of all databases but the workers' own.
//!
//! Every role brings the databases it opens up to date by itself; this does it beforehand, as a user who may, and
//! creates databases that are missing. Run: `shopctl migrate up`, `shopctl migrate status`.

use crate::boot::{Context, Exit, Failure, say};
use crate::config::Settings;
use crate::store::{self, SchemaKind, StoreUrl};

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
    Up,
    /// Show how far each database is; changes nothing
    Status,
}

/// Migrates, or shows how far the databases are.
///
/// # Errors
/// [`Failure`] when a database does not answer or cannot be migrated.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    let mut exit = Exit::Ok;
    for (url, kind) in databases(&ctx.settings)? {
        if matches!(args.action, Action::Up) {
            store::migrate(&url, kind).await?;
        }
        let line = match store::schema_state(&url, kind).await? {
            Some(state) if state.is_current() => format!("{url}: schema {}, up to date", state.applied),
            Some(state) if state.applied > state.known => {
                exit = Exit::Failed;
                format!("{url}: schema {}, newer than this program, which knows {}", state.applied, state.known)
            }
            Some(state) => {
                exit = Exit::Failed;
                format!("{url}: schema {} of {}; run 'shopctl migrate up'", state.applied, state.known)
            }
            None => {
                exit = Exit::Failed;
                format!("{url}: there is no such database; run 'shopctl migrate up'")
            }
        };
        say(&format!("{line}\n"))?;
    }
    Ok(exit)
}

fn databases(settings: &Settings) -> Result<Vec<(StoreUrl, SchemaKind)>, Failure> {
    let mut databases = vec![
        (settings.database.tracking.clone(), SchemaKind::Tracking),
        (settings.database.balance.clone(), SchemaKind::Balance),
        (settings.database.cache.clone(), SchemaKind::Cache),
    ];
    for shard in settings.pipeline.shards_count.shards() {
        databases.push((settings.database.shard(shard).map_err(Failure::usage)?, SchemaKind::Shard));
    }
    Ok(databases)
}
