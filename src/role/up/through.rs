//! Runs a file through all roles until nothing is left that could be decided.

use std::sync::Arc;

use super::watch::{INGEST, Roles, until_ended_early, until_ingest_ended};
use crate::base::boot::Failure;
use crate::base::clock::Clock;
use crate::base::progress::Progress;
use crate::base::shutdown::Stop;
use crate::pipeline::ingest::csv::Opened;
use crate::pipeline::ingest::import::Imported;
use crate::pipeline::ingest::once::Once;
use crate::pipeline::ingest::settle::Settler;
use crate::pipeline::ingest::whole;
use crate::pipeline::settings::Context;
use crate::pipeline::settings::Settings;

/// The roles and what runs beside them.
pub(super) struct Through<'a> {
    pub(super) settings: &'a Arc<Settings>,
    pub(super) stop: &'a Stop,
    pub(super) ingest_stop: &'a Stop,
    pub(super) progress: &'a Progress,
    pub(super) roles: &'a mut Roles,
    pub(super) apis: &'a mut Roles,
}

impl Through<'_> {
    /// Imports the input, and ends when everything of it is decided and delivered or failed; so is what was posted
    /// meanwhile. Returns whose purchase did not come are left waiting.
    pub(super) async fn run(self, input: Opened, batch: u64) -> Result<Imported, Failure> {
        let Self { settings, stop, ingest_stop, progress, roles, apis } = self;
        let context = Context::new(INGEST, Arc::clone(settings), stop.clone());
        let import = async {
            let imported = whole::import(context, input, batch, progress.clone()).await?;
            settle(settings, stop, progress).await?;
            Ok::<_, Failure>(imported)
        };
        let imported = tokio::select! {
            // First: an import that was stopped says so.
            biased;
            result = import => result?,
            result = until_ended_early(stop, roles, apis) => return result.map(|()| Imported::default()),
        };
        // What was posted meanwhile becomes a file now, and no more can come.
        ingest_stop.request();
        until_ingest_ended(stop, roles, apis).await?;
        tokio::select! {
            result = settle(settings, stop, progress) => result?,
            result = until_ended_early(stop, roles, apis) => result?,
        }
        Ok(imported)
    }
}

/// Waits until nothing is left that could be decided, or the stop is requested.
async fn settle(settings: &Arc<Settings>, stop: &Stop, progress: &Progress) -> Result<(), Failure> {
    let once = Once::new(settings, Clock::System, stop.clone());
    let (stop, progress) = (stop.clone(), progress.clone());
    tokio::task::spawn_blocking(move || {
        let mut bar = progress.pieces("delivering", 0);
        let mut watch = |open: u64, all: u64| bar.set(all.saturating_sub(open), all);
        Ok(Settler { once, stop, watch: &mut watch }.settle()?)
    })
    .await?
}
