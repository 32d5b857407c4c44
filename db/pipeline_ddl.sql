-- The tracking database of the pipeline, for MySQL 8.0+ and 9, and MariaDB 10.6+.
-- Running it again changes nothing. The columns are those of db/migrations/sqlite/tracking.

CREATE DATABASE IF NOT EXISTS pipeline_db DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
USE pipeline_db;

-- One row per task (filename, shard). Times are UTC.
CREATE TABLE IF NOT EXISTS pipeline_tracking (
    id                    BIGINT       NOT NULL AUTO_INCREMENT,
    filename              VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    event_ingest_status   ENUM('new', 'started', 'done', 'failed') NOT NULL DEFAULT 'new',
    shard_splitter_status ENUM('new', 'started', 'done', 'failed') NOT NULL DEFAULT 'new',
    shard_worker_status   ENUM('new', 'started', 'done', 'failed') NOT NULL DEFAULT 'new',
    mysql_sender_status   ENUM('new', 'started', 'done', 'failed') NOT NULL DEFAULT 'new',
    shard                 TINYINT      NOT NULL,
    created_at            DATETIME(3)  NOT NULL,
    updated_at            DATETIME(3)  NOT NULL,
    -- How many shards the file was registered with, 1 to 128: every role uses this number, not its own setting.
    shards_count          SMALLINT     NOT NULL,
    -- The lease of the one stage that is in work. A task started by the plain call has no lease_until.
    token                 BIGINT       NOT NULL DEFAULT 0,
    owner                 VARCHAR(255) NULL,
    claim_id              VARCHAR(64)  CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    attempts              INT          NOT NULL DEFAULT 0,
    started_at            DATETIME(3)  NULL,
    lease_until           DATETIME(3)  NULL,
    next_at               DATETIME(3)  NULL,
    last_error            TEXT         NULL,
    PRIMARY KEY (id),
    UNIQUE KEY pipeline_tracking_task (filename, shard),
    KEY pipeline_tracking_event_ingest (event_ingest_status, filename),
    KEY pipeline_tracking_shard_splitter (shard_splitter_status, event_ingest_status, filename),
    KEY pipeline_tracking_shard_worker (shard, shard_worker_status, filename),
    KEY pipeline_tracking_mysql_sender (shard, mysql_sender_status, filename),
    KEY pipeline_tracking_shard_worker_queue (shard_worker_status, shard_splitter_status, id),
    KEY pipeline_tracking_mysql_sender_queue (mysql_sender_status, shard_worker_status, id),
    KEY pipeline_tracking_claim (claim_id),
    KEY pipeline_tracking_created_at (created_at),
    KEY pipeline_tracking_updated_at (updated_at),
    CONSTRAINT pipeline_tracking_filename_form CHECK (CHAR_LENGTH(filename) = 14),
    CONSTRAINT pipeline_tracking_shard_range CHECK (shard BETWEEN 0 AND 127),
    CONSTRAINT pipeline_tracking_shards_count_range CHECK (shards_count BETWEEN 1 AND 128)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row per finished stage of a task.
CREATE TABLE IF NOT EXISTS pipeline_stage_result (
    filename        VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    shard           TINYINT      NOT NULL,
    stage           ENUM('event-ingest', 'shard-splitter', 'shard-worker', 'mysql-sender') NOT NULL,
    token           BIGINT       NOT NULL,
    worker          VARCHAR(255) NULL,
    attempt         INT          NOT NULL,
    started_at      DATETIME(3)  NULL,
    finished_at     DATETIME(3)  NOT NULL,
    -- The conservation counts (read = written + duplicate + rejected + held - released), all or none of them.
    lines_read      BIGINT       NULL,
    lines_written   BIGINT       NULL,
    lines_duplicate BIGINT       NULL,
    lines_rejected  BIGINT       NULL,
    lines_held      BIGINT       NULL,
    lines_released  BIGINT       NULL,
    -- What the next stage must find.
    output_lines    BIGINT       NULL,
    output_bytes    BIGINT       NULL,
    output_sha256   CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NULL,
    index_sha256    CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NULL,
    PRIMARY KEY (filename, shard, stage)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Who asked last for tasks of a stage and shard, so that a stage without a worker can be told from one that has nothing
-- to do, through whichever instance of the API it asked. Shard -1: of any shard.
CREATE TABLE IF NOT EXISTS pipeline_asker (
    stage    ENUM('event-ingest', 'shard-splitter', 'shard-worker', 'mysql-sender') NOT NULL,
    shard    TINYINT      NOT NULL,
    worker   VARCHAR(255) NOT NULL,
    asked_at DATETIME(3)  NOT NULL,
    PRIMARY KEY (stage, shard)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
