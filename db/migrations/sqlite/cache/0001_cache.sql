-- The order directory and the returns that wait for their order.
-- Times are UTC text 'YYYY-MM-DD HH:MM:SS.mmm', which sorts as time.

-- Which shard an order belongs to. A row is also the lock of its order: who hands in a return for an order that nobody
-- knows makes the row, as 'awaited'.
CREATE TABLE order_directory (
    order_id    INTEGER PRIMARY KEY,
    shop_id     INTEGER,
    shard       INTEGER CHECK (shard BETWEEN 0 AND 127),
    state       TEXT    NOT NULL CHECK (state IN ('awaited', 'accepted', 'rejected')),
    -- The event file whose task wrote the order.
    filename    TEXT,
    created_at  TEXT    NOT NULL,
    recorded_at TEXT,
    CHECK ((state = 'awaited') = (shard IS NULL))
) STRICT;

-- A return, named by its line in the event file. It stays after its task is done: a task that is done again must get
-- the same answers.
CREATE TABLE pending_return (
    filename    TEXT    NOT NULL,
    line        INTEGER NOT NULL,
    order_id    INTEGER NOT NULL,
    happened_at TEXT    NOT NULL,
    raw         TEXT    NOT NULL,
    -- The shard whose task handed it in.
    put_shard   INTEGER NOT NULL CHECK (put_shard BETWEEN 0 AND 127),
    put_at      TEXT    NOT NULL,
    expires_at  TEXT    NOT NULL,
    -- The task that has it, once there is one, and when that was done.
    taken_file  TEXT,
    taken_shard INTEGER,
    taken_as    TEXT    CHECK (taken_as IN ('order', 'shard', 'expired')),
    taken_at    TEXT,
    done_at     TEXT,
    PRIMARY KEY (filename, line)
) STRICT, WITHOUT ROWID;

CREATE INDEX pending_return_order ON pending_return (order_id, taken_file);
CREATE INDEX pending_return_taken ON pending_return (taken_file, taken_shard, taken_as);
CREATE INDEX pending_return_overdue ON pending_return (taken_file, put_shard, expires_at);
CREATE INDEX pending_return_done ON pending_return (done_at, put_at);

-- Which tasks have taken what their shard had for them: asked again, they get that and no more.
CREATE TABLE pending_claim (
    filename   TEXT    NOT NULL,
    shard      INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('shard', 'expired')),
    claimed_at TEXT    NOT NULL,
    done_at    TEXT,
    PRIMARY KEY (filename, shard, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX pending_claim_done ON pending_claim (done_at);
