//! Rides: files without lines, for returns that wait for a task of their shard when no more files come.
//!
//! A return that was handed to another shard, or whose time is up, is taken by the next task of that shard. Where shops
//! are closed for the night there is none: then the ingest makes one.

use std::time::Duration;

/// Between two rides while there is anything to ride, at the least: a task needs its time.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// And at the most: nobody takes the rides then, and their files would heap up.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// When the next ride goes. Pure: the caller tells how much time went by.
#[derive(Debug)]
pub struct Timetable {
    pause: Duration,
    since: Duration,
    due_before: u64,
}

impl Default for Timetable {
    fn default() -> Self {
        Self { pause: PAUSE_MIN, since: PAUSE_MIN, due_before: u64::MAX }
    }
}

impl Timetable {
    /// A file with lines went: it takes along what is due.
    pub fn went(&mut self) {
        self.since = Duration::ZERO;
    }

    /// So much time went by. Whether it is worth asking how much is due.
    pub fn is_time(&mut self, passed: Duration) -> bool {
        self.since = self.since.saturating_add(passed);
        self.since >= self.pause
    }

    /// So many returns are due. Whether a ride goes now. While rides take none of them along, the pause grows.
    pub fn goes(&mut self, due: u64) -> bool {
        let helped = due < self.due_before;
        self.pause = if due == 0 || helped { PAUSE_MIN } else { (self.pause * 2).min(PAUSE_MAX) };
        self.due_before = if due == 0 { u64::MAX } else { due };
        if due > 0 {
            self.since = Duration::ZERO;
        }
        due > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_secs(5);

    /// The ticks at which rides go, while so many returns are due.
    fn rides(timetable: &mut Timetable, ticks: u64, due: impl Fn(u64) -> u64) -> Vec<u64> {
        (0..ticks).filter(|tick| timetable.is_time(TICK) && timetable.goes(due(*tick))).collect()
    }

    #[test]
    fn nothing_goes_while_nothing_is_due() {
        assert!(rides(&mut Timetable::default(), 1000, |_| 0).is_empty());
    }

    #[test]
    fn as_long_as_rides_help_they_go_at_every_tick() {
        assert_eq!(rides(&mut Timetable::default(), 5, |tick| 100 - tick), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn rides_that_nobody_takes_become_rare_and_go_on() {
        let mut timetable = Timetable::default();
        let day = rides(&mut timetable, 24 * 720, |_| 7);
        assert_eq!(day[..4], [0, 1, 3, 7]);
        assert!((140..160).contains(&day.len()), "{}", day.len());
        // One helped: the next may go at once.
        assert!(timetable.is_time(PAUSE_MAX) && timetable.goes(3));
        assert_eq!(rides(&mut timetable, 1, |_| 2), [0]);
    }

    #[test]
    fn a_file_with_lines_is_a_ride_too() {
        let mut timetable = Timetable::default();
        timetable.went();
        assert!(!timetable.is_time(TICK / 2));
        assert!(timetable.is_time(TICK / 2));
    }
}
