-- One shard's database: the events, and the marker of every file that was delivered. Times are UTC.
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
