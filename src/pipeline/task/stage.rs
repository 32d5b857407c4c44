//! The four stages and the four statuses (docs/contracts.md, 4).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A stage of the pipeline, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The event file is written and announced.
    EventIngest,
    /// The event file is cut into one file per shard.
    ShardSplitter,
    /// A shard's file is checked against the rules.
    ShardWorker,
    /// A shard's prepared file is written into its database.
    MysqlSender,
}

/// A stage's status for one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Not begun.
    New,
    /// A worker has it.
    Started,
    /// Finished.
    Done,
    /// Given up until a person asks for a retry.
    Failed,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 4] = [Self::EventIngest, Self::ShardSplitter, Self::ShardWorker, Self::MysqlSender];

    /// The stage's name in paths and bodies: `shard-worker`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EventIngest => "event-ingest",
            Self::ShardSplitter => "shard-splitter",
            Self::ShardWorker => "shard-worker",
            Self::MysqlSender => "mysql-sender",
        }
    }

    /// The stage's position, from 0.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The stage before, if there is one.
    pub fn previous(self) -> Option<Self> {
        self.index().checked_sub(1).and_then(|index| Self::ALL.get(index).copied())
    }

    /// The stage after, if there is one.
    pub fn next(self) -> Option<Self> {
        Self::ALL.get(self.index() + 1).copied()
    }

    /// The stages after this one.
    pub fn later(self) -> &'static [Self] {
        Self::ALL.get(self.index() + 1..).unwrap_or(&[])
    }

    /// Whether tasks of one shard are claimed in file order (docs/semantics.md, 2).
    pub fn in_file_order(self) -> bool {
        matches!(self, Self::ShardWorker | Self::MysqlSender)
    }
}

impl Status {
    /// All statuses.
    pub const ALL: [Self; 4] = [Self::New, Self::Started, Self::Done, Self::Failed];

    /// The status's name: `started`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Started => "started",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// The text names no stage, or no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is none of {1}")]
pub struct UnknownName(String, &'static str);

impl FromStr for Stage {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let names = "event-ingest, shard-splitter, shard-worker, mysql-sender";
        let found = Self::ALL.into_iter().find(|stage| stage.name() == text);
        found.ok_or_else(|| UnknownName(text.to_owned(), names))
    }
}

impl FromStr for Status {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|status| status.name() == text);
        found.ok_or_else(|| UnknownName(text.to_owned(), "new, started, done, failed"))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
