//! How far long work is: a bar on a terminal, a calm line in the log elsewhere.
//!
//! The bar is on the standard error and is taken away before the standard output is written, so that a table there
//! stays whole.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::base::config::Logging;

/// Between two lines of the log, where no bar is shown.
const CALM_EVERY: Duration = Duration::from_secs(10);
/// Between two movements of a bar that is not moved otherwise.
const BREATH: Duration = Duration::from_millis(250);

/// Work of so many bytes.
const BYTES: &str = "{prefix} {wide_bar} {percent:>3}%  {bytes_per_sec}  {eta} left  {msg}";
/// Work of an unknown number of bytes.
const STREAM: &str = "{prefix} {spinner} {bytes}  {bytes_per_sec}  {msg}";
/// Work of so many pieces.
const PIECES: &str = "{prefix} {wide_bar} {pos} of {len}  {per_sec}  {eta} left";

/// The bars of a process.
#[derive(Debug, Clone)]
pub struct Progress(MultiProgress);

/// One kind of work.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    what: &'static str,
    told: Instant,
}

impl Progress {
    /// Bars on the standard error, if it is a terminal and nothing speaks against them.
    pub fn of(logging: &Logging) -> Self {
        let is_shown = is_shown(std::io::stderr().is_terminal(), logging);
        Self(MultiProgress::with_draw_target(if is_shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        }))
    }

    /// A bar for work of so many bytes; without, what was done and how fast is all that can be shown.
    pub fn bytes(&self, what: &'static str, bytes: Option<u64>) -> Bar {
        self.bar(what, bytes, if bytes.is_some() { BYTES } else { STREAM })
    }

    /// A bar for so many pieces of work.
    pub fn pieces(&self, what: &'static str, pieces: u64) -> Bar {
        self.bar(what, Some(pieces), PIECES)
    }

    fn bar(&self, what: &'static str, length: Option<u64>, style: &str) -> Bar {
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        let bar = self.0.add(bar);
        bar.set_prefix(what);
        if !self.0.is_hidden() {
            bar.enable_steady_tick(BREATH);
        }
        Bar { bar, what, told: Instant::now() }
    }

    /// Does something with the bars taken away, such as writing to the standard output.
    pub fn suspend<T>(&self, act: impl FnOnce() -> T) -> T {
        self.0.suspend(act)
    }
}

impl Bar {
    /// The bar as a part that moves by itself, such as a reader.
    pub fn inner(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// So much is done, of so much.
    pub fn set(&mut self, done: u64, all: u64) {
        self.bar.set_length(all);
        self.bar.set_position(done);
        self.tell("");
    }

    /// What else there is to say of it.
    pub fn say(&mut self, message: String) {
        self.tell(&message);
        self.bar.set_message(message);
    }

    /// A line of the log now and then, where no bar is shown.
    fn tell(&mut self, message: &str) {
        if self.bar.is_hidden() && self.told.elapsed() >= CALM_EVERY {
            self.told = Instant::now();
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let percent = done.saturating_mul(100).checked_div(all);
            let seconds_left = percent.map(|_| self.bar.eta().as_secs());
            log::info!(percent, seconds_left, detail = message; "{}", self.what);
        }
    }
}

impl Drop for Bar {
    /// Takes it away.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Whether bars are shown: `NO_COLOR` asks for plain output, and a log of errors alone for quiet.
fn is_shown(is_terminal: bool, logging: &Logging) -> bool {
    let is_quiet = matches!(logging.level.to_ascii_lowercase().as_str(), "off" | "error");
    is_terminal && !logging.is_plain && !is_quiet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logging(level: &str, is_plain: bool) -> Logging {
        Logging { level: level.to_owned(), json: false, is_plain }
    }

    #[test]
    fn a_bar_is_for_a_terminal_whose_user_wants_one() {
        assert!(is_shown(true, &logging("WARN", false)));
        assert!(!is_shown(false, &logging("WARN", false)), "piped");
        assert!(!is_shown(true, &logging("WARN", true)), "NO_COLOR");
        assert!(!is_shown(true, &logging("error", false)), "quiet");
    }

    #[test]
    fn every_style_is_one() {
        for style in [BYTES, STREAM, PIECES] {
            assert!(ProgressStyle::with_template(style).is_ok());
        }
        let progress = Progress(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));
        let mut bar = progress.bytes("importing", Some(10));
        bar.inner().inc(4);
        bar.say("x".to_owned());
        assert_eq!((bar.bar.position(), bar.bar.message().as_str()), (4, "x"));
        let mut bar = progress.pieces("delivering", 3);
        bar.set(2, 4);
        assert_eq!((bar.bar.position(), bar.bar.length()), (2, Some(4)));
    }
}
