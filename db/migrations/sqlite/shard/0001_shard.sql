-- One shard's database: the events, and the marker of every file that was delivered.
CREATE TABLE events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    event_type  INTEGER NOT NULL CHECK (event_type BETWEEN 0 AND 4),
    shop_id     INTEGER,
    user_id     INTEGER,
    timestamp   TEXT    NOT NULL,
    shard       INTEGER NOT NULL CHECK (shard BETWEEN 0 AND 127),
    created_at  TEXT    NOT NULL,
    -- Where the event stood: the second guard against a second row.
    source_file TEXT    NOT NULL,
    source_line INTEGER NOT NULL,
    UNIQUE (source_file, source_line)
) STRICT;

CREATE INDEX events_event_type ON events (event_type);
CREATE INDEX events_shop_id ON events (shop_id);
CREATE INDEX events_user_id ON events (user_id);
CREATE INDEX events_shard ON events (shard);
CREATE INDEX events_timestamp ON events (timestamp);
CREATE INDEX events_created_at ON events (created_at);

-- Written in the same transaction as the rows of the file: if the marker is there, the rows are.
CREATE TABLE sent_file (
    filename TEXT    NOT NULL,
    shard    INTEGER NOT NULL,
    sha256   TEXT    NOT NULL,
    rows     INTEGER NOT NULL,
    sent_at  TEXT    NOT NULL,
    PRIMARY KEY (filename, shard)
) STRICT, WITHOUT ROWID;
