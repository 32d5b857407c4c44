//! `shopctl restore DIR`: puts a backup in the place of the shared folder.
//!
//! Reads the named folder, writes the shared folder. The work is in [`crate::pipeline::ops::backup`].
//! Run: `shopctl restore /backups/monday`.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::base::boot::{Exit, Failure, say, say_json};
use crate::base::output::OutputArgs;
use crate::base::text::count;
use crate::pipeline::ops::backup::restore::Restore;
use crate::pipeline::ops::backup::servers;
use crate::pipeline::settings::Context;

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
    /// Verify the backup, say what would be done and what is in the way, and do nothing
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
    let on_servers = restore.servers()?;
    let commands = servers::loads(&on_servers, &args.dir);
    let mut remarks: Vec<String> = servers::incomplete(&on_servers, &args.dir)
        .into_iter()
        .map(|dump| format!("no whole dump: {dump}; do not load it, look for another one"))
        .collect();
    let aside = if args.dry_run {
        remarks.extend(restore.obstacles(args.force)?.into_iter().map(|why| format!("in the way: {why}")));
        None
    } else {
        restore.put_back(args.force, &ctx.clock)?
    };
    if let Some(aside) = &aside {
        remarks.extend(of_spools(&restore, aside));
    }
    if args.output.is_json() {
        say_json(&json!({"backup": restore.header, "dry_run": args.dry_run, "databases": restore.databases,
            "files": restore.files, "bytes": restore.bytes, "shared": restore.shared(), "aside": aside,
            "by_hand": restore.by_hand, "remarks": remarks, "commands": commands.lines().collect::<Vec<_>>()}))?;
        return Ok(Exit::Ok);
    }
    say(&summary(&restore, args, aside.as_deref(), &commands, &remarks))?;
    Ok(Exit::Ok)
}

/// Which event files of the folder that was moved aside must not be put back. The restore is done by now: files that
/// cannot be compared are a remark, and no failure.
fn of_spools(restore: &Restore<'_>, aside: &Path) -> Vec<String> {
    let again = match restore.spooled_again(aside) {
        Ok(again) => again,
        Err(e) => return vec![format!("spools and event files cannot be compared, so put no event file back: {e}")],
    };
    let remark = |(spool, event_file): (PathBuf, PathBuf)| {
        let (spool, event_file) = (spool.display(), event_file.display());
        format!("do not put {event_file} back: its posted lines are in {spool} and are delivered from there")
    };
    again.into_iter().map(remark).collect()
}

fn summary(restore: &Restore<'_>, args: &Args, aside: Option<&Path>, commands: &str, remarks: &[String]) -> String {
    let Restore { databases, files, bytes, header, .. } = restore;
    let (shared, begun) = (restore.shared().display(), &header.created_at);
    let verb = if args.dry_run { "verified; would restore" } else { "restored" };
    let what = format!("{} and {}, {bytes} bytes", count(*databases, "database"), count(*files, "file"));
    let mut text = format!("{verb} {what} of {begun} UTC, into {shared}\n");
    if let Some(aside) = aside {
        text.push_str(&format!("the folder that was there is {} now\n", aside.display()));
    }
    for (from, to) in &restore.by_hand {
        text.push_str(&format!(
            "outside the shared folder, to be done by hand before the roles start:\n{}\n",
            servers::replacement(from, to)
        ));
    }
    if !commands.is_empty() {
        text.push_str(&format!("databases on servers, to be put back before the roles start:\n{commands}"));
    }
    for remark in remarks {
        text.push_str(&format!("{remark}\n"));
    }
    if !args.dry_run {
        text.push_str("now start the roles; when 'shopctl status' has nothing open, run 'shopctl audit --settled'\n");
    }
    text
}
