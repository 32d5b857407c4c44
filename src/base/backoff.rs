//! Waits between attempts: each twice as long as the one before, up to a limit.

use std::time::Duration;

use crate::base::shutdown::Stop;

/// The waits of one loop.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with the first wait.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// Begins anew, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// How long the next wait is.
    pub fn peek(&self) -> Duration {
        self.next
    }

    /// Waits, unless the stop is requested first. The wait after it is twice as long.
    pub async fn pause(&mut self, stop: &Stop) {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.requested() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_double_up_to_the_limit_and_begin_anew() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(350));
        // A stop that is requested already: no wait takes its time.
        let stop = Stop::new();
        stop.request();
        let mut waits = Vec::new();
        for _ in 0..4 {
            waits.push(backoff.peek());
            backoff.pause(&stop).await;
        }
        assert_eq!(waits, [ms(100), ms(200), ms(350), ms(350)]);
        backoff.reset();
        assert_eq!(backoff.peek(), ms(100));
    }
}
