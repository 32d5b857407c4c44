-- Who asked last for tasks of a stage and shard, so that a stage without a worker can be told from one that has nothing
-- to do, through whichever instance of the API it asked. Shard -1: of any shard.
CREATE TABLE pipeline_asker (
    stage    TEXT    NOT NULL CHECK (stage IN ('event-ingest', 'shard-splitter', 'shard-worker', 'mysql-sender')),
    shard    INTEGER NOT NULL CHECK (shard BETWEEN -1 AND 127),
    worker   TEXT    NOT NULL,
    asked_at TEXT    NOT NULL,
    PRIMARY KEY (stage, shard)
) STRICT, WITHOUT ROWID;
