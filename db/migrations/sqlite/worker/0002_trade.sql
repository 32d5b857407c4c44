-- The shard as its worker knows it, for the rules of trade. Money is in minor units (hundredths).

-- Orders: what became of their purchases, and how much of them came back.
CREATE TABLE orders (
    order_id INTEGER NOT NULL PRIMARY KEY,
    user_id  INTEGER,
    shop_id  INTEGER NOT NULL,
    good_id  INTEGER NOT NULL,
    qty      INTEGER NOT NULL CHECK (qty > 0),
    -- Apiece.
    price    INTEGER NOT NULL CHECK (price >= 0),
    returned INTEGER NOT NULL CHECK (returned BETWEEN 0 AND qty),
    -- accepted; refused: after money was asked for, and for good; rejected: before, and it may come again.
    state    TEXT    NOT NULL CHECK (state IN ('accepted', 'refused', 'rejected')),
    reason   TEXT    CHECK ((reason IS NULL) = (state <> 'refused'))
) STRICT;

-- Goods that are counted: those that were restocked once.
CREATE TABLE stock (
    shop_id INTEGER NOT NULL,
    good_id INTEGER NOT NULL,
    count   INTEGER NOT NULL CHECK (count >= 0),
    PRIMARY KEY (shop_id, good_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE price (
    shop_id INTEGER NOT NULL,
    good_id INTEGER NOT NULL,
    price   INTEGER NOT NULL CHECK (price >= 0),
    PRIMARY KEY (shop_id, good_id)
) STRICT, WITHOUT ROWID;

-- Shops that were opened or closed; any other is open.
CREATE TABLE shop (
    shop_id INTEGER NOT NULL PRIMARY KEY,
    active  INTEGER NOT NULL CHECK (active IN (0, 1))
) STRICT;

-- What was reported of the files that are worked through: a report that was lost is made again from here.
CREATE TABLE finished (
    filename       TEXT    NOT NULL PRIMARY KEY,
    input_sha256   BLOB    NOT NULL,
    -- The counts and the output, as they stand in the report.
    counts         TEXT    NOT NULL,
    output         TEXT    NOT NULL,
    rejects_sha256 BLOB,
    finished_day   INTEGER NOT NULL,
    -- Whether the order directory knows that the task is done.
    confirmed      INTEGER NOT NULL DEFAULT 0 CHECK (confirmed IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX finished_unconfirmed ON finished (filename) WHERE confirmed = 0;
