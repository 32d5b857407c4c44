-- All databases of the pipeline on one server, for MySQL 8.0+ and 9, and MariaDB 10.6+:
-- the tracking tables, and the databases of two shards. A further shard is one more block like theirs.
-- Running it again changes nothing.

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

CREATE DATABASE IF NOT EXISTS shop_shard_0 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
USE shop_shard_0;

CREATE TABLE IF NOT EXISTS events (
    id          BIGINT       NOT NULL AUTO_INCREMENT,
    event_type  TINYINT      NOT NULL,
    shop_id     BIGINT       NULL,
    user_id     BIGINT       NULL,
    `timestamp` DATETIME(3)  NOT NULL,
    shard       TINYINT      NOT NULL,
    created_at  DATETIME(3)  NOT NULL,
    -- Where the event stood: the second guard against a second row.
    source_file VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    source_line BIGINT       NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY events_source (source_file, source_line),
    KEY events_event_type (event_type),
    KEY events_shop_id (shop_id),
    KEY events_user_id (user_id),
    KEY events_shard (shard),
    KEY events_timestamp (`timestamp`),
    KEY events_created_at (created_at),
    CONSTRAINT events_event_type_range CHECK (event_type BETWEEN 0 AND 4),
    CONSTRAINT events_shard_range CHECK (shard BETWEEN 0 AND 127)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Written in the same transaction as the rows of the file: if the marker is there, the rows are.
-- `rows` is a reserved word of MySQL, hence the quotes.
CREATE TABLE IF NOT EXISTS sent_file (
    filename VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    shard    TINYINT      NOT NULL,
    sha256   CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    `rows`   BIGINT       NOT NULL,
    sent_at  DATETIME(3)  NOT NULL,
    PRIMARY KEY (filename, shard)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The books: what the events come to.

-- One row per good of a shop. Good 0 stands for the shop itself: it keeps whether the shop is open before it has goods.
CREATE TABLE IF NOT EXISTS shop (
    id      BIGINT        NOT NULL,
    good_id BIGINT        NOT NULL,
    -- NULL until the first restock: from then on the stock is tracked.
    count   BIGINT        NULL,
    active  BOOLEAN       NOT NULL DEFAULT TRUE,
    -- NULL until the first price change.
    price   DECIMAL(18,2) NULL,
    PRIMARY KEY (id, good_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS purchase_history (
    order_id       BIGINT        NOT NULL,
    -- NULL for a cash sale.
    user_id        BIGINT        NULL,
    good_id        BIGINT        NOT NULL,
    shop_id        BIGINT        NOT NULL,
    qty            BIGINT        NOT NULL,
    price_at_order DECIMAL(18,2) NOT NULL,
    created_at     DATETIME(3)   NOT NULL,
    PRIMARY KEY (order_id),
    KEY purchase_history_user_id (user_id),
    CONSTRAINT purchase_history_qty_range CHECK (qty > 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS order_return (
    id         BIGINT        NOT NULL AUTO_INCREMENT,
    order_id   BIGINT        NOT NULL,
    qty        BIGINT        NOT NULL,
    amount     DECIMAL(18,2) NOT NULL,
    created_at DATETIME(3)   NOT NULL,
    PRIMARY KEY (id),
    KEY order_return_order_id (order_id),
    CONSTRAINT order_return_qty_range CHECK (qty > 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Kept by people, not by the pipeline.
CREATE TABLE IF NOT EXISTS good (
    id    BIGINT        NOT NULL,
    name  VARCHAR(255)  NULL,
    brand VARCHAR(255)  NULL,
    price DECIMAL(18,2) NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE DATABASE IF NOT EXISTS shop_shard_1 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
USE shop_shard_1;

CREATE TABLE IF NOT EXISTS events (
    id          BIGINT       NOT NULL AUTO_INCREMENT,
    event_type  TINYINT      NOT NULL,
    shop_id     BIGINT       NULL,
    user_id     BIGINT       NULL,
    `timestamp` DATETIME(3)  NOT NULL,
    shard       TINYINT      NOT NULL,
    created_at  DATETIME(3)  NOT NULL,
    -- Where the event stood: the second guard against a second row.
    source_file VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    source_line BIGINT       NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY events_source (source_file, source_line),
    KEY events_event_type (event_type),
    KEY events_shop_id (shop_id),
    KEY events_user_id (user_id),
    KEY events_shard (shard),
    KEY events_timestamp (`timestamp`),
    KEY events_created_at (created_at),
    CONSTRAINT events_event_type_range CHECK (event_type BETWEEN 0 AND 4),
    CONSTRAINT events_shard_range CHECK (shard BETWEEN 0 AND 127)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Written in the same transaction as the rows of the file: if the marker is there, the rows are.
-- `rows` is a reserved word of MySQL, hence the quotes.
CREATE TABLE IF NOT EXISTS sent_file (
    filename VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    shard    TINYINT      NOT NULL,
    sha256   CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    `rows`   BIGINT       NOT NULL,
    sent_at  DATETIME(3)  NOT NULL,
    PRIMARY KEY (filename, shard)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The books: what the events come to.

-- One row per good of a shop. Good 0 stands for the shop itself: it keeps whether the shop is open before it has goods.
CREATE TABLE IF NOT EXISTS shop (
    id      BIGINT        NOT NULL,
    good_id BIGINT        NOT NULL,
    -- NULL until the first restock: from then on the stock is tracked.
    count   BIGINT        NULL,
    active  BOOLEAN       NOT NULL DEFAULT TRUE,
    -- NULL until the first price change.
    price   DECIMAL(18,2) NULL,
    PRIMARY KEY (id, good_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS purchase_history (
    order_id       BIGINT        NOT NULL,
    -- NULL for a cash sale.
    user_id        BIGINT        NULL,
    good_id        BIGINT        NOT NULL,
    shop_id        BIGINT        NOT NULL,
    qty            BIGINT        NOT NULL,
    price_at_order DECIMAL(18,2) NOT NULL,
    created_at     DATETIME(3)   NOT NULL,
    PRIMARY KEY (order_id),
    KEY purchase_history_user_id (user_id),
    CONSTRAINT purchase_history_qty_range CHECK (qty > 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS order_return (
    id         BIGINT        NOT NULL AUTO_INCREMENT,
    order_id   BIGINT        NOT NULL,
    qty        BIGINT        NOT NULL,
    amount     DECIMAL(18,2) NOT NULL,
    created_at DATETIME(3)   NOT NULL,
    PRIMARY KEY (id),
    KEY order_return_order_id (order_id),
    CONSTRAINT order_return_qty_range CHECK (qty > 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Kept by people, not by the pipeline.
CREATE TABLE IF NOT EXISTS good (
    id    BIGINT        NOT NULL,
    name  VARCHAR(255)  NULL,
    brand VARCHAR(255)  NULL,
    price DECIMAL(18,2) NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
