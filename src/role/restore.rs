//! `shopctl restore DIR`: puts a backup in the place of the shared folder.
//!
//! Reads the named folder, writes the shared folder. The work is in [`crate::pipeline::ops::backup`].
//! Run: `shopctl restore /backups/monday`.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::base::boot::{Context, Exit, Failure, say, say_json};
use crate::base::output::OutputArgs;
use crate::base::text::count;
use crate::pipeline::ops::backup::restore::Restore;
use crate::pipeline::ops::backup::servers;

/// Puts a backup in the place of the shared folder.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl restore /backups/monday --dry-run                  verify it, and say what would be done
  shopctl restore /backups/monday                            into a shared folder that is new or empty
  shopctl restore /backups/monday --force                    move the shared folder aside first; its new name is printed
  shopctl restore /backups/monday --set shared.dir=./other   into another folder

Stop all roles first. Every byte is compared with the manifest before anything is touched. The
shared folder is the old one or the new one, whenever this is killed. Nothing is deleted.
Afterwards start the roles: what was done since the backup began is done again. When 'shopctl status'
has nothing open, run 'shopctl audit --settled'; before that, early returns may differ from the reports.
Exit codes: 0 done, 1 refused or failed, 64 bad usage or settings, 75 no room, or stopped.")]
pub struct Args {
    /// The folder of a backup
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Move a shared folder that is not empty aside
    #[arg(long)]
    force: bool,
    /// Verify the backup, say what would be done and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Puts the backup back.
///
/// # Errors
/// [`Failure`] when it is not whole, or something stands in the way; the shared folder is as it was then.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    tokio::task::spawn_blocking(move || restore(&ctx, &args)).await?
}

fn restore(ctx: &Context, args: &Args) -> Result<Exit, Failure> {
    let restore = Restore::verified(&ctx.settings, &ctx.stop, &args.dir)?;
    let commands = servers::loads(&restore.servers()?, &args.dir);
    let aside = if args.dry_run {
        restore.check(args.force)?;
        None
    } else {
        restore.put_back(args.force, &ctx.clock)?
    };
    if args.output.is_json() {
        say_json(&json!({"backup": restore.header, "dry_run": args.dry_run, "databases": restore.databases,
            "files": restore.files, "bytes": restore.bytes, "shared": restore.shared(), "aside": aside,
            "by_hand": restore.by_hand, "commands": commands.lines().collect::<Vec<_>>()}))?;
        return Ok(Exit::Ok);
    }
    say(&summary(&restore, args, aside.as_deref(), &commands))?;
    Ok(Exit::Ok)
}

fn summary(restore: &Restore<'_>, args: &Args, aside: Option<&Path>, commands: &str) -> String {
    let Restore { databases, files, bytes, header, .. } = restore;
    let (shared, begun) = (restore.shared().display(), &header.created_at);
    let verb = if args.dry_run { "verified; would restore" } else { "restored" };
    let what = format!("{} and {}, {bytes} bytes", count(*databases, "database"), count(*files, "file"));
    let mut text = format!("{verb} {what} of {begun} UTC, into {shared}\n");
    if let Some(aside) = aside {
        text.push_str(&format!("the folder that was there is {} now\n", aside.display()));
    }
    for (from, to) in &restore.by_hand {
        let (from, to) = (from.display(), to.display());
        text.push_str(&format!("outside the shared folder, to be copied by hand: cp {from} {to}, without {to}-wal\n"));
    }
    if !commands.is_empty() {
        text.push_str(&format!("databases on servers, to be put back before the roles start:\n{commands}"));
    }
    if !args.dry_run {
        text.push_str("now start the roles; when 'shopctl status' has nothing open, run 'shopctl audit --settled'\n");
    }
    text
}
