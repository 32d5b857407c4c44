//! `shopctl man [DIR]`: the manual pages, made of the help.
//!
//! Writes a page per command into the folder, or the first page to the standard output.
//! Run: `shopctl man | man -l -`, `shopctl man /usr/local/share/man/man1`.

use std::path::PathBuf;

use clap::Command;

use crate::base::boot::{Exit, Failure, say, say_much};

/// Prints the manual page, or writes all pages into a folder.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl man | man -l -                     read the first page
  shopctl man /usr/local/share/man/man1      install a page for every command")]
pub struct Args {
    /// Write a page per command into this folder instead
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints or writes them.
///
/// # Errors
/// [`Failure`] when they cannot be written.
pub fn run(command: Command, args: &Args) -> Result<Exit, Failure> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        say_much(|out| out.write_all(&page))?;
        return Ok(Exit::Ok);
    };
    let cannot = |e: std::io::Error| Failure::new(format!("cannot write the pages into {}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(cannot)?;
    clap_mangen::generate_to(command, dir).map_err(cannot)?;
    let count = std::fs::read_dir(dir).map_err(cannot)?.count();
    say(&format!("{count} pages in {}\n", dir.display()))?;
    Ok(Exit::Ok)
}
