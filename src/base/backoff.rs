//! Waits between attempts: each twice as long as the one before, up to a limit. With jitter, processes that failed at the
//! same moment do not try again at the same moment.

use std::time::Duration;

use crate::base::shutdown::Stop;

/// The waits of one loop.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    /// Where the random part of a wait comes from: numbers from 0 to 1.
    jitter: Option<fn() -> f64>,
}

impl Backoff {
    /// Begins with the first wait.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first, jitter: None }
    }

    /// The same with jitter: half of each wait, and a random part of the other half.
    pub const fn with_jitter(self) -> Self {
        Self { jitter: Some(random_part), ..self }
    }

    /// Begins anew, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// How long the next wait is, before its jitter.
    pub fn peek(&self) -> Duration {
        self.next
    }

    /// How long to wait now. The wait after it is twice as long.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.longest);
        self.jitter.map_or(wait, |part| wait / 2 + (wait / 2).mul_f64(part()))
    }

    /// Waits, unless the stop is requested first. The wait after it is twice as long.
    pub async fn pause(&mut self, stop: &Stop) {
        let wait = self.next_wait();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.requested() => {}
        }
    }
}

fn random_part() -> f64 {
    rand::random_range(0.0..1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_leaves_between_half_of_a_wait_and_all_of_it() {
        let ms = Duration::from_millis;
        let parts: [fn() -> f64; 3] = [|| 0.0, || 0.5, || 1.0];
        for (part, waits) in parts.into_iter().zip([[50, 100, 150], [75, 150, 225], [100, 200, 300]]) {
            let mut backoff = Backoff { jitter: Some(part), ..Backoff::new(ms(100), ms(300)) };
            assert_eq!([(); 3].map(|()| backoff.next_wait()), waits.map(ms));
        }
        let mut random = Backoff::new(ms(100), ms(100)).with_jitter();
        assert!((0..100).all(|_| (ms(50)..=ms(100)).contains(&random.next_wait())));
    }

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
