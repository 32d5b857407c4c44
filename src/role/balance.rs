//! `shopctl balance`: the balance-daemon.
//!
//! Reads and writes the balance database, which it creates where needed; serves its API (docs/contracts.md, 5) on port
//! 8083.
//! Run: `shopctl balance`.

use crate::base::boot::{Exit, Failure};
use crate::pipeline::balance::open::open_balance;
use crate::pipeline::balance::{self, Balance};
use crate::pipeline::boot;
use crate::pipeline::settings::Context;

/// The port that the balance-daemon listens on by default.
pub const PORT: u16 = 8083;

/// The balance-daemon: accounts of users, and operations on them that take effect once.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  shopctl balance
  shopctl balance --set balance.opening_balance=100.00
  curl -s http://127.0.0.1:8083/api/v1/balances/7

Stop it with SIGTERM or Ctrl-C: it answers what has begun and exits with 0; a second signal ends it at once.")]
pub struct Args {}

/// Serves until the stop is requested.
///
/// # Errors
/// [`Failure`] when the port or the database cannot be opened.
pub async fn run(mut ctx: Context, _args: Args) -> Result<Exit, Failure> {
    ctx.bind(PORT, balance::POLICY).await?;
    let settings = &ctx.settings;
    let store = open_balance(&settings.database.balance, ctx.clock.clone(), settings.balance.opening).await?;
    let api = Balance::new(store.clone(), &ctx.metrics);
    let keep = api.clone().keep_ready(ctx.readiness.clone(), ctx.stop.clone());
    let work = async move {
        keep.await;
        Ok(())
    };
    let served = boot::serve(ctx, balance::router(api), balance::BODY_BYTES_MAX, work).await;
    store.close().await;
    served
}
