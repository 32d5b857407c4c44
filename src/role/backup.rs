//! `shopctl backup DIR`: a copy of the shared folder and the embedded databases, made while roles run.
//!
//! Reads the shared folder, writes the named folder. The work is in [`crate::pipeline::ops::backup`].
//! Run: `shopctl backup /backups/monday`.

use std::path::PathBuf;

use serde_json::json;

use crate::base::boot::{Exit, Failure, say, say_json};
use crate::base::db::Server;
use crate::base::output::OutputArgs;
use crate::base::text::count;
use crate::pipeline::ops::backup::take::{Backup, BackupExtent};
use crate::pipeline::ops::backup::{Database, Error, servers};
use crate::pipeline::settings::Context;

/// Makes a backup of the shared folder and of the embedded databases.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl backup /backups/monday             while the roles run, or while they do not
  shopctl backup /backups/monday --dry-run   what would be copied, and the commands for databases on servers
  shopctl restore /backups/monday            put it back

Roles go on meanwhile; they clear no delivered files until the backup is made. manifest.json is
written last: a folder without it is no backup. Databases on servers are not in it; the commands
that dump them are printed. With such, stop every shard-worker and mysql-sender, run the commands,
make the backup, and start them again.
Exit codes: 0 done, 1 failed, 64 bad usage or settings, 75 no room, stopped, or something is in the way now.")]
pub struct Args {
    /// A folder that is new or empty, outside the shared folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Say what would be copied and copy nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Makes the backup.
///
/// # Errors
/// [`Failure`] when it is not whole.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    tokio::task::spawn_blocking(move || backup(&ctx, &args)).await?
}

fn backup(ctx: &Context, args: &Args) -> Result<Exit, Failure> {
    let backup = Backup::new(&ctx.settings, &ctx.stop, &args.dir)?;
    let (dir, on_servers) = (backup.dir().to_owned(), backup.servers().to_vec());
    let commands = if on_servers.is_empty() { String::new() } else { servers::dumps(&on_servers, &dir) };
    let extent = if args.dry_run { backup.extent()? } else { backup.make(&ctx.clock)? };
    if args.output.is_json() {
        let BackupExtent { databases, files, bytes, left_out } = extent;
        say_json(&json!({"dir": dir, "dry_run": args.dry_run, "databases": databases, "files": files, "bytes": bytes,
            "left_out": left_out, "commands": commands.lines().collect::<Vec<_>>()}))?;
        return Ok(Exit::Ok);
    }
    if !commands.is_empty() {
        say(&format!("{}{commands}\n", about_servers(&on_servers)))?;
    }
    say(&summary(&extent, args, &dir.display().to_string()))?;
    if !args.dry_run {
        for dump in servers::incomplete(&on_servers, &dir) {
            eprintln!(
                "shopctl: there is no whole dump {dump}: this backup is of no use without one of the same moment"
            );
        }
    }
    Ok(Exit::Ok)
}

fn about_servers(on_servers: &[(Database, Server)]) -> String {
    let tls = servers::tls_of_mariadb(on_servers).map_or_else(String::new, |tls| format!("; {tls}"));
    let passwords = match servers::variables(on_servers).join(", ") {
        none if none.is_empty() => String::new(),
        names => format!("# The passwords are expected in {names}.\n"),
    };
    format!(
        "# Databases on servers are not in the backup. Stop every shard-worker and mysql-sender, run these commands\n\
         # in this order (with MariaDB's programs: mariadb-dump{tls}), then make the backup, and start them again.\n{passwords}"
    )
}

fn summary(extent: &BackupExtent, args: &Args, dir: &str) -> String {
    let BackupExtent { databases, files, bytes, left_out } = extent;
    let what = format!("{} and {}, {bytes} bytes", count(*databases, "database"), count(*files, "file"));
    let mut text = match args.dry_run {
        true => format!("would copy {what} to {dir}\n"),
        false => format!("{what} in {dir}\nput it back with: shopctl restore {dir}\n"),
    };
    if *left_out > 0 {
        text.push_str(&format!("left out: {} and the like, no plain files\n", count(*left_out, "link")));
    }
    text
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error {
            Error::Usage(_) => Exit::Usage,
            Error::Failed(_) => Exit::Failed,
            Error::TryLater(_) => Exit::TryLater,
        };
        Self { exit, message: error.to_string() }
    }
}
