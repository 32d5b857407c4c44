//! How commands print: a table for people, JSON for programs. One set of flags for all of them.

use clap::ValueEnum;

/// The form of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Text for people.
    #[default]
    Table,
    /// JSON for programs.
    Json,
}

/// The flags that choose the form, flattened into the arguments of a command.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct OutputArgs {
    /// How to print: table for people, or json for programs
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    format: Format,
    /// The same as --output json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl OutputArgs {
    /// Whether JSON is wanted.
    pub fn is_json(self) -> bool {
        self.json || self.format == Format::Json
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        output: OutputArgs,
    }

    #[test]
    fn three_spellings_mean_json() {
        let is_json = |words: &[&str]| {
            let line = Line::try_parse_from(["x"].iter().chain(words).copied());
            line.ok().map(|line| line.output.is_json())
        };
        for words in [&["-o", "json"][..], &["-ojson"], &["--output", "json"], &["--output=json"], &["--json"]] {
            assert_eq!(is_json(words), Some(true), "{words:?}");
        }
        for words in [&[][..], &["-o", "table"], &["--output=table"]] {
            assert_eq!(is_json(words), Some(false), "{words:?}");
        }
        for words in [&["-o", "yaml"][..], &["-o", "table", "--json"]] {
            assert_eq!(is_json(words), None, "{words:?}");
        }
    }
}
