//! What a task is: one `(filename, shard)` on its way through four stages. Pure: names, states, moves, counts.
//!
//! The stores, the API and the roles all speak in these types; [`moves`] is the one place that says what is legal.

pub mod counts;
pub mod ledger;
pub mod moves;
pub mod name;
pub mod progress;
pub mod repair;
pub mod stage;
pub mod view;
pub mod wire;

pub use counts::{Counts, Digest, Output};
pub use ledger::Ledger;
pub use moves::{Call, MoveRefusal, MoveVerdict, TaskRow};
pub use name::FileName;
pub use progress::TaskProgress;
pub use repair::{Class, Repair};
pub use stage::{Stage, Status};
pub use view::{Claim, Claimed, FileView, ShardView, StageResult, Summary};

use crate::pipeline::event::ShardId;

/// Names one task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// The event file.
    pub file: FileName,
    /// The shard.
    pub shard: ShardId,
}

impl std::fmt::Display for TaskKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} shard {}", self.file, self.shard)
    }
}
