//! Who makes calls in the pipeline, beside the operator. Which calls those are, each service's policy says.

use crate::base::config::principals;

principals! {
    /// A client that posts events.
    PRODUCER = "producer",
        token: "token of those who post events; every token: 16 or more visible characters, or two as NEW,OLD while it is changed",
        file: "file with that token instead, as for all that follow";
    /// The event-ingest: registers files, and says that they are there.
    EVENT_INGEST = "event_ingest",
        token: "token of the event-ingest at the stage-status API",
        file: "file with the token of the event-ingest";
    /// The shard-splitter: claims and finishes tasks of its stage.
    SHARD_SPLITTER = "shard_splitter",
        token: "token of the shard-splitter at the stage-status API",
        file: "file with the token of the shard-splitter";
    /// Every shard-worker: claims and finishes tasks of its stage, moves money, and knows orders.
    SHARD_WORKER = "shard_worker",
        token: "token of the shard-workers at the stage-status API, balance-daemon and cache-service",
        file: "file with the token of the shard-workers";
    /// The mysql-sender: claims and finishes tasks of its stage.
    MYSQL_SENDER = "mysql_sender",
        token: "token of the mysql-sender at the stage-status API",
        file: "file with the token of the mysql-sender";
}
