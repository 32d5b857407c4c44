//! The leases that this process holds, and the thread that renews them.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::fault::Fault;
use crate::base::shutdown::Stop;
use crate::pipeline::apid::client::Client;
use crate::pipeline::task::wire::TaskRequest;
use crate::pipeline::task::{Claimed, Stage};

/// A worker stops when this much of its lease has passed without a heartbeat: it must be quiet before another one
/// may take the task (docs/semantics.md, 2).
const STOP_AT_PERCENT: u32 = 70;
/// A heartbeat is due after this part of the lease.
const HEARTBEATS_PER_LEASE: u32 = 3;

/// The right to work on a claim's tasks, as long as it lasts. Cloning shares it.
#[derive(Clone)]
pub struct Lease(Arc<Inner>);

struct Inner {
    stage: Stage,
    requests: Vec<TaskRequest>,
    length: Duration,
    /// When the last call that granted or extended the lease was sent: before the API's clock began to count.
    granted: Mutex<Instant>,
    stop: Stop,
}

impl Lease {
    /// The lease of tasks that were claimed by a call that was sent at `sent`.
    pub fn new(stage: Stage, claimed: &[Claimed], sent: Instant, stop: Stop) -> Self {
        let length = claimed.iter().map(|claimed| claimed.lease_ms).min().unwrap_or_default();
        let requests = claimed
            .iter()
            .map(|claimed| TaskRequest { token: Some(claimed.token), ..TaskRequest::new(&claimed.key) })
            .collect();
        Self(Arc::new(Inner {
            stage,
            requests,
            length: Duration::from_millis(length),
            granted: Mutex::new(sent),
            stop,
        }))
    }

    /// A lease that never ends, for work that no API knows of.
    pub fn unlimited(stage: Stage, stop: Stop) -> Self {
        Self(Arc::new(Inner {
            stage,
            requests: Vec::new(),
            length: Duration::MAX,
            granted: Mutex::new(Instant::now()),
            stop,
        }))
    }

    /// Whether the work may go on. Called every few thousand lines and right before anything becomes visible.
    ///
    /// # Errors
    /// [`Fault::LeaseLost`] when another owner may have the task, [`Fault::Stopped`] when this process has to end.
    pub fn check(&self) -> Result<(), Fault> {
        if self.0.stop.is_giving_back() {
            return Err(Fault::Stopped);
        }
        let passed = self.granted().elapsed();
        let limit = self.0.length.checked_mul(STOP_AT_PERCENT).map_or(Duration::MAX, |length| length / 100);
        if passed > limit {
            return Err(Fault::LeaseLost("the lease is over".to_owned()));
        }
        Ok(())
    }

    fn granted(&self) -> Instant {
        *self.0.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Extends the lease with the API once.
    fn extend(&self, client: &Client) {
        let sent = Instant::now();
        let mut extended = 0;
        for request in &self.0.requests {
            match client.heartbeat(self.0.stage, request) {
                Ok(_) => extended += 1,
                // Some of the claim's tasks may be finished already; those need no lease any more. If the work still
                // goes on, the check before its next step finds out by time.
                Err(e) if e.is_task_taken() => {
                    log::debug!(stage = self.0.stage.name(), file = request.filename.as_str(); "a heartbeat was refused: {e}");
                }
                Err(e) => {
                    log::warn!(stage = self.0.stage.name(), file = request.filename.as_str(); "a heartbeat failed: {e}")
                }
            }
        }
        if extended == self.0.requests.len() {
            *self.0.granted.lock().unwrap_or_else(PoisonError::into_inner) = sent;
        }
    }
}

/// Keeps a lease alive until it is dropped.
pub struct Heart {
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heart {
    /// Starts the heartbeats of a lease.
    ///
    /// # Errors
    /// [`Fault::Unavailable`] when the system has no thread to give.
    pub fn start(lease: &Lease, client: &Client) -> Result<Self, Fault> {
        let (end, ended) = mpsc::channel();
        let (lease, client) = (lease.clone(), client.clone());
        let period = lease.0.length / HEARTBEATS_PER_LEASE;
        let beat = move || {
            while ended.recv_timeout(period) == Err(mpsc::RecvTimeoutError::Timeout) {
                lease.extend(&client);
            }
        };
        let thread = std::thread::Builder::new().name("heartbeat".to_owned()).spawn(beat);
        let thread = thread.map_err(|e| Fault::Unavailable(format!("cannot start the heartbeats: {e}")))?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the heartbeat thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed(lease_ms: u64) -> Vec<Claimed> {
        vec![Claimed {
            key: crate::pipeline::task::TaskKey {
                file: "20250101000000".parse().unwrap(),
                shard: crate::pipeline::event::ShardId::new(0).unwrap(),
            },
            token: 1,
            lease_ms,
            attempt: 1,
            shards_count: crate::pipeline::event::ShardCount::new(1).unwrap(),
            input: None,
            is_replay: false,
        }]
    }

    #[test]
    fn work_stops_before_the_lease_is_over() {
        let sent = |ago| Instant::now().checked_sub(Duration::from_secs(ago)).unwrap();
        let stop = Stop::new();
        assert!(Lease::new(Stage::ShardWorker, &claimed(60_000), sent(40), stop.clone()).check().is_ok());
        let late = Lease::new(Stage::ShardWorker, &claimed(60_000), sent(43), stop.clone());
        assert!(matches!(late.check(), Err(Fault::LeaseLost(_))));
        let fresh = Lease::new(Stage::ShardWorker, &claimed(60_000), sent(0), stop.clone());
        stop.request();
        assert!(fresh.check().is_ok(), "draining finishes what has begun");
        stop.give_back();
        assert!(matches!(fresh.check(), Err(Fault::Stopped)), "what is not finished in time is given back");
    }
}
