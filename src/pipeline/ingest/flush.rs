//! Flush files: event files without lines, made for returns that are due while no other file comes.
//!
//! A return that was handed to another shard, or whose time is up, is taken by the next task of that shard. While shops
//! are closed for the night there is no next task, so the ingest makes one with a flush file. [`FlushTimer`] says when
//! a daemon makes a flush file. [`Settling`] says when a run that has to come to an end makes one.

use std::time::Duration;

/// Between two flush files while returns are due, at the least: a task needs its time.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// And at the most: no worker takes the flush files then, and they would heap up.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// When a daemon makes the next flush file. Pure: the caller tells how much time went by.
#[derive(Debug)]
pub struct FlushTimer {
    pause: Duration,
    since: Duration,
    due_before: u64,
}

impl Default for FlushTimer {
    fn default() -> Self {
        Self { pause: PAUSE_MIN, since: PAUSE_MIN, due_before: u64::MAX }
    }
}

impl FlushTimer {
    /// A file with lines was made: its tasks take up what is due.
    pub fn file_made(&mut self) {
        self.since = Duration::ZERO;
    }

    /// So much time went by. Whether it is worth asking how much is due.
    pub fn is_time(&mut self, passed: Duration) -> bool {
        self.since = self.since.saturating_add(passed);
        self.since >= self.pause
    }

    /// So many returns are due. Whether a flush file is made now. While none of them is taken up, the pause grows.
    pub fn is_wanted(&mut self, due: u64) -> bool {
        let helped = due < self.due_before;
        self.pause = if due == 0 || helped { PAUSE_MIN } else { (self.pause * 2).min(PAUSE_MAX) };
        self.due_before = if due == 0 { u64::MAX } else { due };
        if due > 0 {
            self.since = Duration::ZERO;
        }
        due > 0
    }
}

/// What a run that has to come to an end does next, once no task is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing is left that could be decided.
    Settled,
    /// Returns are due: a flush file is made, and its tasks are waited for.
    Flush,
    /// The tasks of the last flush file took none of so many due returns: another one would not either.
    Stuck(u64),
}

/// Brings returns that are due to an end, flush file by flush file. Every one has to take some returns along, so that it
/// ends. Pure: the caller looks and makes the files.
#[derive(Debug, Default)]
pub struct Settling {
    /// How many returns waited when the last flush file was made.
    waiting_before: Option<u64>,
}

impl Settling {
    /// What to do where so many returns wait for a task and so many of these are due. No task is open.
    pub fn next(&mut self, waiting: u64, due: u64) -> Next {
        if due == 0 {
            self.waiting_before = None;
            return Next::Settled;
        }
        // Not by what is due: with the time that passes more may be due than before.
        if self.waiting_before.is_some_and(|before| waiting >= before) {
            return Next::Stuck(due);
        }
        self.waiting_before = Some(waiting);
        Next::Flush
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_secs(5);

    /// The ticks at which flush files are made, while so many returns are due.
    fn flushes(timer: &mut FlushTimer, ticks: u64, due: impl Fn(u64) -> u64) -> Vec<u64> {
        (0..ticks).filter(|tick| timer.is_time(TICK) && timer.is_wanted(due(*tick))).collect()
    }

    #[test]
    fn nothing_is_made_while_nothing_is_due() {
        assert!(flushes(&mut FlushTimer::default(), 1000, |_| 0).is_empty());
    }

    #[test]
    fn as_long_as_flush_files_help_they_are_made_at_every_tick() {
        assert_eq!(flushes(&mut FlushTimer::default(), 5, |tick| 100 - tick), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn flush_files_that_no_worker_takes_become_rare_and_do_not_cease() {
        let mut timer = FlushTimer::default();
        let day = flushes(&mut timer, 24 * 720, |_| 7);
        assert_eq!(day[..4], [0, 1, 3, 7]);
        assert!((140..160).contains(&day.len()), "{}", day.len());
        // One helped: the next may be made at once.
        assert!(timer.is_time(PAUSE_MAX) && timer.is_wanted(3));
        assert_eq!(flushes(&mut timer, 1, |_| 2), [0]);
    }

    #[test]
    fn a_file_with_lines_is_as_good_as_a_flush_file() {
        let mut timer = FlushTimer::default();
        timer.file_made();
        assert!(!timer.is_time(TICK / 2));
        assert!(timer.is_time(TICK / 2));
    }

    #[test]
    fn flush_files_are_made_as_long_as_they_take_returns_along() {
        let mut settling = Settling::default();
        assert_eq!(settling.next(1000, 0), Next::Settled, "what waits for its purchase is not due");
        assert_eq!(settling.next(1000, 30), Next::Flush);
        assert_eq!(settling.next(990, 20), Next::Flush);
        assert_eq!(settling.next(989, 25), Next::Flush, "time was up for more than were taken along");
        assert_eq!(settling.next(970, 0), Next::Settled);
    }

    #[test]
    fn a_flush_file_that_takes_nothing_along_is_the_last_one() {
        let mut settling = Settling::default();
        assert_eq!(settling.next(10, 3), Next::Flush);
        assert_eq!(settling.next(10, 3), Next::Stuck(3));
        let mut settling = Settling::default();
        assert_eq!(settling.next(10, 3), Next::Flush);
        assert_eq!(settling.next(12, 5), Next::Stuck(5), "more came, and none was taken");
    }
}
