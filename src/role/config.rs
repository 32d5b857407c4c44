//! `shopctl config`: shows and checks the settings.
//!
//! Reads the settings as every role does. Run: `shopctl config show`.

use super::settings::{Loaded, Settings};
use crate::base::boot::{Exit, Failure, say, say_json};
use crate::base::config::{Sections, Sources, load};
use crate::base::output::OutputArgs;

/// Shows and checks the settings.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl config default > shopctl.toml       a settings file that changes nothing yet: every key, explained
  shopctl config check --config shopctl.toml  lists everything that is wrong
  shopctl config show --origin                what holds here, and where each value comes from")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Print the settings that hold here, with passwords masked
    Show {
        /// Add where each value comes from
        #[arg(long)]
        origin: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Check the settings and print everything that is wrong with them
    Check,
    /// Print a settings file with every key commented out, what it means and its default here
    Default,
}

/// Shows or checks.
///
/// # Errors
/// [`Failure`] when the settings are not right.
pub fn run(sources: &Sources, args: &Args) -> Result<Exit, Failure> {
    match args.command {
        Command::Default => {
            let profile = sources.find_profile().map_err(|faults| Failure::usage(faults.to_string()))?;
            say(&Settings::schema().sample(profile, &super::up::Args::default().defaults()))?;
        }
        Command::Show { origin, output } if output.is_json() => say_json(&loaded(sources)?.show_json(origin))?,
        Command::Show { origin, .. } => say(&loaded(sources)?.show(origin))?,
        Command::Check => {
            loaded(sources)?;
            say("the settings are right\n")?;
        }
    }
    Ok(Exit::Ok)
}

fn loaded(sources: &Sources) -> Result<Loaded, Failure> {
    load(sources).map_err(|faults| Failure::usage(faults.to_string()))
}
