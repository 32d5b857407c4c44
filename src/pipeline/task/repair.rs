//! What a failure of a task is, and what repairs it. Pure: the page, `status`, the audit and the logs say the same.
//!
//! A stage puts the code of the class before the reason that it reports: `missing: events/… was not found`. A reason is
//! text in the tracking database, so that programs of another version can read and write it; one without a code is
//! [`Class::Reported`], or what earlier versions are known to have meant by it.

use serde::{Deserialize, Serialize};

use super::{Stage, TaskKey};

/// Parts of a reason, divided by `": "`, among which a code is looked for: what is around a cause names itself first.
const PARTS_MAX: usize = 8;

macro_rules! classes {
    ($($(#[$doc:meta])* $class:ident = $code:literal, $runbook:literal;)+) => {
        /// A class of failures. All of a class are repaired in the same way.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        pub enum Class {
            $($(#[$doc])* #[serde(rename = $code)] $class,)+
        }

        impl Class {
            /// All classes.
            pub const ALL: [Self; [$($code),+].len()] = [$(Self::$class),+];

            /// The code that stands before a reason: `corrupt`.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$class => $code,)+
                }
            }

            /// The section of docs/runbook.md.
            pub const fn runbook(self) -> &'static str {
                match self {
                    $(Self::$class => concat!("docs/runbook.md#", $runbook),)+
                }
            }
        }
    };
}

classes! {
    /// The input is not what the stage before reported.
    Corrupt = "corrupt", "corrupt-file";
    /// The input is not there.
    Missing = "missing", "missing-file";
    /// A published file is lost or damaged, and so is the worker's copy of it.
    CopyLost = "copy_lost", "missing-file";
    /// The input was worked through before with other content.
    InputChanged = "input_changed", "corrupt-file";
    /// The input is there and cannot be read.
    Unreadable = "unreadable", "failed-task";
    /// Lines were lost or made.
    Conservation = "conservation", "failed-task";
    /// The worker ended or stood still at every attempt.
    LeaseExpired = "lease_expired", "stuck-worker";
    /// The stage panicked.
    Panicked = "panicked", "failed-task";
    /// The database or its schema is not what it must be.
    DatabaseBroken = "database_broken", "failed-task";
    /// The database holds the file, a row or an order of it with other content.
    MarkerConflict = "marker_conflict", "restore-backup";
    /// The bank knows an operation's key with other content.
    KeyConflict = "key_conflict", "restore-backup";
    /// A service refuses the call.
    ServiceRefused = "service_refused", "failed-task";
    /// The program contradicts itself.
    Internal = "internal", "failed-task";
    /// A disk is full, or over its quota.
    DiskFull = "disk_full", "disk-full";
    /// A folder or a disk cannot be used.
    DiskAway = "disk_away", "disk-full";
    /// A database cannot be reached.
    DatabaseAway = "database_away", "database-away";
    /// A database takes no changes.
    DatabaseReadOnly = "database_read_only", "database-read-only";
    /// A service does not answer, or cannot do its work.
    ServiceAway = "service_away", "service-away";
    /// A service does not take the token.
    TokenRefused = "token_refused", "token-refused";
    /// The worker's state is gone.
    StateLost = "state_lost", "lost-state";
    /// A person or another program said that the task failed, or gave no reason.
    Reported = "reported", "failed-task";
}

/// What repairs a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Repair {
    /// The class of the failure.
    // By its code: the derive does not see names that a macro made.
    #[schema(value_type = String, example = "missing")]
    pub class: Class,
    /// What is wrong and what to do first, in one sentence.
    pub what: String,
    /// The commands to run then, in their order; none where the pipeline goes on by itself.
    #[schema(example = json!(["shopctl retry 20250101000000 --shard 0 --stage shard-splitter --cascade"]))]
    pub commands: Vec<String>,
    /// The section of the runbook.
    #[schema(example = "docs/runbook.md#missing-file")]
    pub runbook: String,
}

impl Class {
    /// The reason with the code of its class before it. A reason that has a code keeps its own.
    pub fn tag(self, reason: impl std::fmt::Display) -> String {
        let reason = reason.to_string();
        if Self::find(&reason).is_some() { reason } else { format!("{}: {reason}", self.code()) }
    }

    /// The class of a reason.
    pub fn of(reason: Option<&str>) -> Self {
        let Some(reason) = reason else {
            return Self::Reported;
        };
        Self::find(reason).or_else(|| Self::of_earlier_versions(reason)).unwrap_or(Self::Reported)
    }

    /// The class whose code stands in the reason; the last of them, which is the innermost cause.
    pub fn find(reason: &str) -> Option<Self> {
        let class_of = |part: &str| Self::ALL.into_iter().find(|class| class.code() == part);
        // The last part is text: a code has something behind it.
        let parts: Vec<&str> = reason.split(": ").take(PARTS_MAX).collect();
        parts.split_last()?.1.iter().rev().find_map(|part| class_of(part))
    }

    fn of_earlier_versions(reason: &str) -> Option<Self> {
        let begins = |start: &str| reason.starts_with(start);
        if begins("gave up: the lease of attempt") {
            return Some(Self::LeaseExpired);
        }
        if begins("the stage panicked") {
            return Some(Self::Panicked);
        }
        if begins("the database is broken") {
            return Some(Self::DatabaseBroken);
        }
        reason.contains("No such file or directory").then_some(Self::Missing)
    }

    /// Whether the pipeline goes on by itself once the cause is gone: these cost no attempt.
    pub const fn passes_by_itself(self) -> bool {
        matches!(
            self,
            Self::DiskFull
                | Self::DiskAway
                | Self::DatabaseAway
                | Self::DatabaseReadOnly
                | Self::ServiceAway
                | Self::TokenRefused
        )
    }
}

impl Repair {
    /// The repair of a task that failed, or is being retried, at a stage for this reason.
    pub fn of(key: &TaskKey, stage: Stage, reason: Option<&str>) -> Self {
        let class = Class::of(reason);
        Self {
            class,
            what: what(class, stage).to_owned(),
            commands: commands(class, key, stage),
            runbook: class.runbook().to_owned(),
        }
    }

    /// What repairs the condition that keeps a role from its work, where it names a class.
    pub fn of_condition(reason: &str) -> Option<Self> {
        let class = Class::find(reason).filter(|class| class.passes_by_itself())?;
        let what = what(class, Stage::EventIngest).to_owned();
        Some(Self { class, what, commands: Vec::new(), runbook: class.runbook().to_owned() })
    }

    /// The condition that keeps a role from its work, with the section of the runbook that says what to do.
    pub fn advise(reason: String) -> String {
        match Self::of_condition(&reason) {
            Some(Self { runbook, .. }) => format!("{reason} ({runbook})"),
            None => reason,
        }
    }

    /// The command, where another stage has to make the input again before this one can succeed.
    pub fn another_stage(&self) -> Option<&str> {
        self.commands.iter().map(String::as_str).find(|command| command.contains(" --cascade"))
    }

    /// In one line: the commands, and where there is more about it.
    pub fn advice(&self) -> String {
        let commands = self.commands.join("; ");
        let how = if commands.is_empty() { "it goes on by itself then".to_owned() } else { commands };
        format!("{how}  ({})", self.runbook)
    }
}

/// The stage that makes a stage's input again, if one can.
fn maker(stage: Stage) -> Option<Stage> {
    stage.previous().filter(|previous| *previous != Stage::EventIngest)
}

fn commands(class: Class, key: &TaskKey, stage: Stage) -> Vec<String> {
    let TaskKey { file, shard } = key;
    let retry = || format!("shopctl retry {file} --shard {shard}");
    match (class, maker(stage)) {
        (class, _) if class.passes_by_itself() => Vec::new(),
        (Class::Corrupt | Class::Missing | Class::InputChanged, Some(maker)) => {
            vec![format!("shopctl retry {file} --shard {shard} --stage {maker} --cascade")]
        }
        // The event file is that of all its shards.
        (Class::Corrupt | Class::Missing | Class::InputChanged, None) => vec![format!("shopctl retry {file}")],
        (Class::StateLost, _) => vec![format!("shopctl work --shard {shard} --rebuild")],
        _ => vec![retry()],
    }
}

fn what(class: Class, stage: Stage) -> &'static str {
    match (class, maker(stage)) {
        (Class::Corrupt, Some(_)) => "the input file is not what was reported; the stage before makes it again",
        (Class::Corrupt, None) => "the event file is not what was announced; put it back from a backup first",
        (Class::Missing, Some(_)) => "the input file is gone; the stage before makes it again",
        (Class::Missing, None) => "the event file is gone; put it back from a backup first",
        (Class::InputChanged, _) => {
            "the input was worked through before with other content; put the event file back as it was first"
        }
        (Class::CopyLost, _) => "a published file and its copy are gone; put the file back from a backup first",
        (Class::Unreadable, _) => "the input file is there but cannot be read; correct its rights, or its disk, first",
        (Class::Conservation, _) => "the counts do not add up, so lines were lost or made; run the stage again",
        (Class::LeaseExpired, _) => {
            "its worker ended or stood still at every attempt; read the worker's log and start the worker first"
        }
        (Class::Panicked, _) => "the stage panicked, which is a defect of the program; keep its log, then try again",
        (Class::DatabaseBroken, _) => {
            "the database refuses what is written; run 'shopctl migrate status' and compare the schema first"
        }
        (Class::MarkerConflict, _) => {
            "the shard's database holds this file with other content, as after a restore of another moment or with another \
             installation's database; correct database.shard or restore what belongs together first"
        }
        (Class::KeyConflict, _) => {
            "the bank holds an operation of this file with other content, as after a restore of another moment; restore \
             what belongs together first"
        }
        (Class::ServiceRefused, _) => "a service refuses the call; compare the versions of the roles first",
        (Class::Internal, _) => "the program contradicts itself, which is a defect; keep its log, then try again",
        (Class::DiskFull, _) => "a disk is full; make room on it",
        (Class::DiskAway, _) => "a folder or a disk cannot be used; mount it, or correct its rights",
        (Class::DatabaseAway, _) => "a database cannot be reached; start it, or correct its URL",
        (Class::DatabaseReadOnly, _) => "a database takes no changes; make it writable, or name its primary server",
        (Class::ServiceAway, _) => "a service does not do its work; start it, or look at its log",
        (Class::TokenRefused, _) => "a service does not take the token; set the same token on both sides",
        (Class::StateLost, _) => {
            "the worker's state is gone; put it back from a backup, or stop the worker and make the state again"
        }
        (Class::Reported, _) => "the task was reported as failed; read the reason, mend its cause, then try again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TaskKey {
        TaskKey { file: "20250101000000".parse().unwrap(), shard: crate::pipeline::event::ShardId::new(1).unwrap() }
    }

    fn command(stage: Stage, reason: &str) -> String {
        Repair::of(&key(), stage, Some(reason)).commands.join("; ")
    }

    #[test]
    fn a_reason_with_a_code_is_of_its_class_and_keeps_it() {
        for class in Class::ALL {
            let reason = class.tag("why: it failed");
            assert_eq!(Class::of(Some(&reason)), class);
            assert_eq!(Class::Internal.tag(&reason), reason, "tagged once");
            assert_eq!(serde_json::to_value(class).unwrap(), class.code());
        }
        let cause = "work: service_away: the bank answers 503: the database is not available: disk_full: no room";
        assert_eq!(Class::of(Some(cause)), Class::DiskFull, "the innermost cause");
        assert_eq!(Class::of(Some("a person says: corrupt")), Class::Reported, "a last word is no code");
    }

    #[test]
    fn a_condition_names_its_section_and_anything_else_none() {
        let told = Repair::advise("database: database_read_only: x.sqlite takes no changes".to_owned());
        assert!(told.ends_with(" takes no changes (docs/runbook.md#database-read-only)"), "{told}");
        assert_eq!(Repair::of_condition(&told).map(|repair| repair.class), Some(Class::DatabaseReadOnly));
        assert_eq!(Repair::advise("corrupt: x".to_owned()), "corrupt: x");
    }

    #[test]
    fn what_earlier_versions_wrote_is_understood() {
        for (reason, class) in [
            ("corrupt: x has 1 lines, reported were 2 lines", Class::Corrupt),
            ("conservation: the event file has 2 lines", Class::Conservation),
            ("gave up: the lease of attempt 5 ran out (worker w)", Class::LeaseExpired),
            ("the stage panicked: no text", Class::Panicked),
            ("shard-splitter/x: No such file or directory (os error 2)", Class::Missing),
            ("disk on fire", Class::Reported),
        ] {
            assert_eq!(Class::of(Some(reason)), class, "{reason}");
        }
        assert_eq!(Class::of(None), Class::Reported);
    }

    #[test]
    fn an_input_is_made_again_by_the_stage_before_and_an_event_file_by_none() {
        for reason in ["missing: x", "corrupt: x"] {
            let cascade = |stage| format!("shopctl retry 20250101000000 --shard 1 --stage {stage} --cascade");
            assert_eq!(command(Stage::MysqlSender, reason), cascade("shard-worker"));
            assert_eq!(command(Stage::ShardWorker, reason), cascade("shard-splitter"));
            assert_eq!(command(Stage::ShardSplitter, reason), "shopctl retry 20250101000000");
        }
        assert_eq!(command(Stage::MysqlSender, "disk on fire"), "shopctl retry 20250101000000 --shard 1");
        assert_eq!(command(Stage::ShardWorker, "state_lost: x"), "shopctl work --shard 1 --rebuild");
        assert_eq!(command(Stage::ShardWorker, "disk_full: x"), "");
    }

    #[test]
    fn every_class_says_what_to_do_and_names_a_section_of_the_runbook() {
        for class in Class::ALL {
            let repair = Repair::of(&key(), Stage::ShardWorker, Some(&class.tag("x")));
            assert!(!repair.what.is_empty() && !repair.what.ends_with('.'), "{repair:?}");
            assert_eq!(repair.commands.is_empty(), class.passes_by_itself(), "{repair:?}");
            assert!(repair.runbook.starts_with("docs/runbook.md#"), "{repair:?}");
        }
    }
}
