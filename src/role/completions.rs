//! `shopctl completions SHELL`: what a shell needs to complete commands and flags.
//!
//! Reads nothing. Run: `shopctl completions bash > /etc/bash_completion.d/shopctl`.

use clap::Command;
use clap_complete::Shell;

use crate::base::boot::{Exit, Failure, say_much};

/// Prints the completions of a shell.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl completions bash > ~/.local/share/bash-completion/completions/shopctl
  shopctl completions zsh > ~/.zfunc/_shopctl            with fpath+=~/.zfunc before compinit
  shopctl completions fish > ~/.config/fish/completions/shopctl.fish")]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints them.
///
/// # Errors
/// [`Failure`] when the output cannot be written.
pub fn run(mut command: Command, args: &Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "shopctl", &mut script);
    say_much(|out| out.write_all(&script))?;
    Ok(Exit::Ok)
}
