-- What one shard's worker remembers. Changed in one transaction per file.
-- The key is bytes, so that 'evt-a' and 'EVT-A' stay two keys.
CREATE TABLE seen (
    key         BLOB    NOT NULL PRIMARY KEY,
    filename    TEXT    NOT NULL,
    line        INTEGER NOT NULL,
    fingerprint BLOB    NOT NULL,
    -- Days since 1970-01-01 on which the file was worked on: keys are forgotten by day. There is no index on it:
    -- it would double every insert to speed up one sweep a day.
    seen_day    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
