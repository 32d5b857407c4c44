-- The tracking database: one row per task (filename, shard), and one row per finished stage of a task.
-- Times are UTC text 'YYYY-MM-DD HH:MM:SS.mmm', which sorts as time.
CREATE TABLE pipeline_tracking (
    id                    INTEGER PRIMARY KEY AUTOINCREMENT,
    filename              TEXT    NOT NULL CHECK (length(filename) = 14),
    event_ingest_status   TEXT    NOT NULL DEFAULT 'new' CHECK (event_ingest_status   IN ('new', 'started', 'done', 'failed')),
    shard_splitter_status TEXT    NOT NULL DEFAULT 'new' CHECK (shard_splitter_status IN ('new', 'started', 'done', 'failed')),
    shard_worker_status   TEXT    NOT NULL DEFAULT 'new' CHECK (shard_worker_status   IN ('new', 'started', 'done', 'failed')),
    mysql_sender_status   TEXT    NOT NULL DEFAULT 'new' CHECK (mysql_sender_status   IN ('new', 'started', 'done', 'failed')),
    shard                 INTEGER NOT NULL CHECK (shard BETWEEN 0 AND 127),
    created_at            TEXT    NOT NULL,
    updated_at            TEXT    NOT NULL,
    -- How many shards the file was registered with: every role uses this number, not its own setting.
    shards_count          INTEGER NOT NULL CHECK (shards_count BETWEEN 1 AND 128),
    -- The lease of the one stage that is in work. A task started by the plain call has no lease_until.
    token                 INTEGER NOT NULL DEFAULT 0,
    owner                 TEXT,
    claim_id              TEXT,
    attempts              INTEGER NOT NULL DEFAULT 0,
    started_at            TEXT,
    lease_until           TEXT,
    next_at               TEXT,
    last_error            TEXT,
    UNIQUE (filename, shard)
) STRICT;

CREATE INDEX pipeline_tracking_event_ingest ON pipeline_tracking (event_ingest_status, filename);
CREATE INDEX pipeline_tracking_shard_splitter ON pipeline_tracking (shard_splitter_status, event_ingest_status, filename);
CREATE INDEX pipeline_tracking_shard_worker ON pipeline_tracking (shard, shard_worker_status, filename);
CREATE INDEX pipeline_tracking_mysql_sender ON pipeline_tracking (shard, mysql_sender_status, filename);
CREATE INDEX pipeline_tracking_shard_worker_queue ON pipeline_tracking (shard_worker_status, shard_splitter_status, id);
CREATE INDEX pipeline_tracking_mysql_sender_queue ON pipeline_tracking (mysql_sender_status, shard_worker_status, id);
CREATE INDEX pipeline_tracking_claim ON pipeline_tracking (claim_id) WHERE claim_id IS NOT NULL;
CREATE INDEX pipeline_tracking_created_at ON pipeline_tracking (created_at);
CREATE INDEX pipeline_tracking_updated_at ON pipeline_tracking (updated_at);

CREATE TABLE pipeline_stage_result (
    filename     TEXT    NOT NULL,
    shard        INTEGER NOT NULL,
    stage        TEXT    NOT NULL CHECK (stage IN ('event-ingest', 'shard-splitter', 'shard-worker', 'mysql-sender')),
    token        INTEGER NOT NULL,
    worker       TEXT,
    attempt      INTEGER NOT NULL,
    started_at   TEXT,
    finished_at  TEXT    NOT NULL,
    -- The conservation counts (read = written + duplicate + rejected + held - released), all or none of them.
    lines_read       INTEGER,
    lines_written    INTEGER,
    lines_duplicate  INTEGER,
    lines_rejected   INTEGER,
    lines_held       INTEGER,
    lines_released   INTEGER,
    -- What the next stage must find.
    output_lines  INTEGER,
    output_bytes  INTEGER,
    output_sha256 TEXT,
    index_sha256  TEXT,
    PRIMARY KEY (filename, shard, stage)
) STRICT, WITHOUT ROWID;
