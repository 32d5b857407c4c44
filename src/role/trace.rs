//! `shopctl trace ORDER|FILE`: follows one order or one event file on its way.
//!
//! Reads the files between the stages, the tracking database and the shard databases; asks balance-daemon and
//! cache-service if they are there. Changes nothing. Run: `shopctl trace 4711`, `shopctl trace 20250101000000`.

use crate::base::boot::{Exit, Failure, say, say_json};
use crate::base::output::OutputArgs;
use crate::pipeline::ops::trace::{file_report, order_report, text};
use crate::pipeline::settings::Context;
use crate::pipeline::task::FileName;

/// Follows one order or one file on its way.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl trace 4711                    every line of order 4711: where it stands, what became of it
  shopctl trace 20250101000000          an event file: its stages in every shard, times and rows
  shopctl trace --order 20250101000000  an order whose number looks like a file
  shopctl trace 4711 --json

Event files that were cleared (shared.retention_hours) cannot be read any more; of their orders
the rejects and the databases still tell. balance-daemon and cache-service are asked where they
answer; the output says if they did not.
Exit codes: 0 found, 1 not found, 64 bad usage or settings, 75 a database does not answer.")]
pub struct Args {
    /// The order's number, or the file's 14 digits
    #[arg(value_name = "ORDER|FILE", value_parser = what)]
    what: What,
    /// It is an order, also if it looks like a file
    #[arg(long)]
    order: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// What is followed.
#[derive(Debug, Clone)]
enum What {
    /// 14 digits that are a moment, as a number too.
    File(FileName, i64),
    Order(i64),
}

fn what(text: &str) -> Result<What, String> {
    let bad = || "an order is a whole number above 0, a file has 14 digits that name a moment".to_owned();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<i64>().ok().filter(|number| is_plain && *number > 0).ok_or_else(bad)?;
    Ok(text.parse().map_or(What::Order(number), |file| What::File(file, number)))
}

/// Follows what was named.
///
/// # Errors
/// [`Failure`] when something cannot be read, or was not found.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    let is_json = args.output.is_json();
    match args.what {
        What::File(file, _) if !args.order => {
            let report = file_report::report(&ctx, file).await?;
            if is_json { say_json(&report) } else { say(&text::file(&report)) }?;
        }
        What::File(_, order) | What::Order(order) => {
            let report = order_report::report(&ctx, order).await?;
            if is_json { say_json(&report) } else { say(&text::order(&report)) }?;
        }
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fourteen_digits_that_are_a_moment_are_a_file() {
        assert!(matches!(what("20250101000000"), Ok(What::File(_, 20_250_101_000_000))));
        assert!(matches!(what("20251301000000"), Ok(What::Order(_))));
        assert!(matches!(what("4711"), Ok(What::Order(4711))));
        for bad in ["", "0", "-1", "+1", "4711x", "99999999999999999999", "２"] {
            assert!(what(bad).is_err(), "{bad}");
        }
    }
}
