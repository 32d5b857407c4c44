-- All databases of the pipeline on one server, for MySQL 8.0+ and 9, and MariaDB 10.6+:
-- the tracking tables, the databases of two shards (a further shard is one more block like theirs), the accounts, and
-- the order directory with the pending returns.
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

-- Who asked last for tasks of a stage and shard, so that a stage without a worker can be told from one that has nothing
-- to do, through whichever instance of the API it asked. Shard -1: of any shard.
CREATE TABLE IF NOT EXISTS pipeline_asker (
    stage    ENUM('event-ingest', 'shard-splitter', 'shard-worker', 'mysql-sender') NOT NULL,
    shard    TINYINT      NOT NULL,
    worker   VARCHAR(255) NOT NULL,
    asked_at DATETIME(3)  NOT NULL,
    PRIMARY KEY (stage, shard)
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
    -- The file whose delivery wrote the row. An early return is delivered with a later file than the one it came in.
    delivered_with VARCHAR(14) CHARACTER SET ascii COLLATE ascii_bin NULL,
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
    -- The digest over the rows of the delivery; docs/data-model.md says how it is made.
    rows_sha256 CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
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
    -- The files of the last status and the last price: a file that is delivered late does not undo them.
    active_file VARCHAR(14) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
    price_file  VARCHAR(14) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
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
    -- The file whose delivery wrote the row. An early return is delivered with a later file than the one it came in.
    delivered_with VARCHAR(14) CHARACTER SET ascii COLLATE ascii_bin NULL,
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
    -- The digest over the rows of the delivery; docs/data-model.md says how it is made.
    rows_sha256 CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
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
    -- The files of the last status and the last price: a file that is delivered late does not undo them.
    active_file VARCHAR(14) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
    price_file  VARCHAR(14) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
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

CREATE DATABASE IF NOT EXISTS balance_db DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
USE balance_db;

-- The balance database: accounts, what was moved, and the outcome of every operation. Times are UTC.
CREATE TABLE IF NOT EXISTS user (
    id              BIGINT        NOT NULL,
    name            VARCHAR(255)  NULL,
    -- balance = opening_balance + credits - debits of account_transaction, and never below zero.
    balance         DECIMAL(18,2) NOT NULL,
    role            VARCHAR(64)   NOT NULL DEFAULT 'customer',
    opening_balance DECIMAL(18,2) NOT NULL,
    created_at      DATETIME(3)   NOT NULL,
    updated_at      DATETIME(3)   NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT user_balance_range CHECK (balance >= 0),
    CONSTRAINT user_opening_range CHECK (opening_balance >= 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What was applied, and nothing else: the double entry to user.balance.
CREATE TABLE IF NOT EXISTS account_transaction (
    id              BIGINT         NOT NULL AUTO_INCREMENT,
    user_id         BIGINT         NOT NULL,
    amount          DECIMAL(18,2)  NOT NULL,
    type            ENUM('credit', 'debit') NOT NULL,
    reason          VARCHAR(255)   NOT NULL,
    -- Bytes: 'evt-a' and 'EVT-A' are two keys.
    idempotency_key VARBINARY(255) NOT NULL,
    created_at      DATETIME(3)    NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY account_transaction_key (idempotency_key),
    KEY account_transaction_user (user_id, id),
    CONSTRAINT account_transaction_amount_range CHECK (amount > 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Every operation with its outcome, refusals too: a key that comes again is answered from here.
CREATE TABLE IF NOT EXISTS account_operation (
    idempotency_key VARBINARY(255) NOT NULL,
    user_id         BIGINT         NOT NULL,
    amount          DECIMAL(18,2)  NOT NULL,
    type            ENUM('credit', 'debit') NOT NULL,
    outcome         ENUM('applied', 'insufficient_funds') NOT NULL,
    created_at      DATETIME(3)    NOT NULL,
    PRIMARY KEY (idempotency_key),
    CONSTRAINT account_operation_amount_range CHECK (amount > 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE DATABASE IF NOT EXISTS cache_db DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
USE cache_db;

-- The order directory and the returns that wait for their order. Times are UTC.

-- Which shard an order belongs to. A row is also the lock of its order: who hands in a return for an order that nobody
-- knows makes the row, as 'awaited'.
CREATE TABLE IF NOT EXISTS order_directory (
    order_id    BIGINT       NOT NULL,
    shop_id     BIGINT       NULL,
    shard       TINYINT      NULL,
    state       ENUM('awaited', 'accepted', 'rejected') NOT NULL,
    -- The event file whose task wrote the order.
    filename    VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL,
    created_at  DATETIME(3)  NOT NULL,
    recorded_at DATETIME(3)  NULL,
    PRIMARY KEY (order_id),
    CONSTRAINT order_directory_shard_range CHECK (shard BETWEEN 0 AND 127),
    CONSTRAINT order_directory_awaited CHECK ((state = 'awaited') = (shard IS NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A return, named by its line in the event file. It stays after its task is done: a task that is done again must get
-- the same answers.
CREATE TABLE IF NOT EXISTS pending_return (
    filename    VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    line        BIGINT       NOT NULL,
    order_id    BIGINT       NOT NULL,
    happened_at DATETIME(3)  NOT NULL,
    raw         MEDIUMTEXT   NOT NULL,
    -- The shard whose task handed it in.
    put_shard   TINYINT      NOT NULL,
    put_at      DATETIME(3)  NOT NULL,
    expires_at  DATETIME(3)  NOT NULL,
    -- The task that has it, once there is one, and when that was done.
    taken_file  VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL,
    taken_shard TINYINT      NULL,
    taken_as    ENUM('order', 'shard', 'expired') NULL,
    taken_at    DATETIME(3)  NULL,
    done_at     DATETIME(3)  NULL,
    PRIMARY KEY (filename, line),
    KEY pending_return_order (order_id, taken_file),
    KEY pending_return_taken (taken_file, taken_shard, taken_as),
    KEY pending_return_overdue (taken_file, put_shard, expires_at),
    KEY pending_return_done (done_at, put_at),
    CONSTRAINT pending_return_put_shard_range CHECK (put_shard BETWEEN 0 AND 127)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Which tasks have taken what their shard had for them: asked again, they get that and no more.
CREATE TABLE IF NOT EXISTS pending_claim (
    filename   VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    shard      TINYINT      NOT NULL,
    kind       ENUM('shard', 'expired') NOT NULL,
    claimed_at DATETIME(3)  NOT NULL,
    done_at    DATETIME(3)  NULL,
    PRIMARY KEY (filename, shard, kind),
    KEY pending_claim_done (done_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
