//! Brings a run to its end: waits until no task is open, and makes flush files until nothing is left that could be
//! decided. How often it looks makes no difference to what is decided.

use std::time::Duration;

use super::flush::{Next, Settling};
use super::once::{Once, OnceError};
use crate::base::boot::Failure;
use crate::base::shutdown::Stop;
use crate::pipeline::apid::client::ClientError;

/// The first wait between two looks, and the longest: the tasks of a flush file are done soon, those of an import later.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// Waits for a run, and flushes it.
pub struct Settler<'a> {
    /// Looks, and makes the files.
    pub once: Once,
    /// When to stop waiting.
    pub stop: Stop,
    /// Is told how many tasks are open, and how many there are.
    pub watch: &'a mut (dyn FnMut(u64, u64) + Send),
}

/// Why a run cannot be brought to its end.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Looking or making a file failed.
    #[error(transparent)]
    Once(#[from] OnceError),
    /// Flush files do not help.
    #[error(
        "{0} returns of decided orders are due, and the flush file that was made for them took none along: look with \
         'shopctl status' for a shard whose tasks fail, and for one that pipeline.shards_count leaves out now; see \
         docs/runbook.md#pending-returns"
    )]
    Stuck(u64),
}

impl From<ClientError> for SettleError {
    fn from(error: ClientError) -> Self {
        Self::Once(error.into())
    }
}

impl Settler<'_> {
    /// Waits until nothing is left that could be decided, or the stop is requested.
    ///
    /// # Errors
    /// [`SettleError`].
    pub fn settle(&mut self) -> Result<(), SettleError> {
        let mut settling = Settling::default();
        loop {
            self.wait()?;
            if self.stop.is_requested() {
                return Ok(());
            }
            let backlog = self.once.backlog()?;
            match settling.next(backlog.waiting, backlog.due) {
                Next::Settled => return Ok(()),
                Next::Stuck(due) => return Err(SettleError::Stuck(due)),
                Next::Flush => {
                    self.once.flush()?;
                    log::info!(due = backlog.due; "returns are due: made a flush file for them");
                }
            }
        }
    }

    /// Waits until every task of announced files is delivered or failed. The numbers are those of this moment, unlike
    /// the books, which may be some seconds old.
    fn wait(&mut self) -> Result<(), ClientError> {
        let mut pause = LOOK_AGAIN.0;
        loop {
            match self.once.open() {
                Ok((open, total)) => {
                    (self.watch)(open, total);
                    if open == 0 {
                        return Ok(());
                    }
                }
                Err(e) if e.is_away() => log::warn!("{e}"),
                Err(e) => return Err(e),
            }
            if self.stop.wait(pause) {
                return Ok(());
            }
            pause = (pause * 2).min(LOOK_AGAIN.1);
        }
    }
}

impl From<SettleError> for Failure {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Once(e) => e.into(),
            other => Self::new(other.to_string()),
        }
    }
}
