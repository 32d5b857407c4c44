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
