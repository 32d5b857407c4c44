//! `shopctl trace`: follows one order or one file on its way.
use crate::boot::{Context, Exit, Failure};
/// Follows.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// x
    pub what: String,
}
/// x
///
/// # Errors
/// x
pub async fn run(_ctx: Context, _args: Args) -> Result<Exit, Failure> {
    Ok(Exit::Ok)
}
