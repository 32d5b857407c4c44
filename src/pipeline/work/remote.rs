//! Bank and order directory by way of the balance-daemon and the cache-service.

use super::bank::{Bank, Outcome, Refusal};
use super::directory::{DecidedOrder, Directory, Due, EarlyReturn, Kept, TakenReturn};
use crate::config::Settings;
use crate::pipeline::fault::Fault;
use crate::rules::money::Operation;
use crate::task::TaskKey;

/// The balance-daemon.
pub struct RemoteBank;

/// The cache-service.
pub struct RemoteDirectory;

impl RemoteBank {
    /// The one that the settings name.
    pub fn of(_settings: &Settings) -> Self {
        Self
    }
}

impl RemoteDirectory {
    /// The one that the settings name.
    pub fn of(_settings: &Settings) -> Self {
        Self
    }
}

impl Bank for RemoteBank {
    fn apply(&mut self, _operations: &[Operation]) -> Result<Vec<Outcome>, Refusal> {
        Err(absent().into())
    }
}

impl Directory for RemoteDirectory {
    fn record(&mut self, _by: &TaskKey, _orders: &[DecidedOrder]) -> Result<u64, Fault> {
        Err(absent())
    }

    fn put(&mut self, _by: &TaskKey, _returns: &[EarlyReturn]) -> Result<Vec<Kept>, Fault> {
        Err(absent())
    }

    fn take(&mut self, _by: &TaskKey, _due: Due) -> Result<Vec<TakenReturn>, Fault> {
        Err(absent())
    }

    fn confirm(&mut self, _by: &TaskKey) -> Result<(), Fault> {
        Err(absent())
    }
}

fn absent() -> Fault {
    Fault::Surroundings("there is no balance-daemon and no cache-service yet".to_owned())
}
