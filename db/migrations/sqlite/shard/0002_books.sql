-- The books of a shard: what its events come to. Written in the same transaction as the events. Money is in minor units.

-- One row per good of a shop. Good 0 stands for the shop itself: it keeps whether the shop is open before it has goods.
CREATE TABLE shop (
    id      INTEGER NOT NULL,
    good_id INTEGER NOT NULL,
    -- NULL until the first restock: from then on the stock is tracked.
    count   INTEGER,
    active  INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
    -- NULL until the first price change.
    price   INTEGER,
    -- The files of the last status and the last price: a file that is delivered late does not undo them.
    active_file TEXT NOT NULL DEFAULT '',
    price_file  TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (id, good_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE purchase_history (
    order_id       INTEGER NOT NULL PRIMARY KEY,
    -- NULL for a cash sale.
    user_id        INTEGER,
    good_id        INTEGER NOT NULL,
    shop_id        INTEGER NOT NULL,
    qty            INTEGER NOT NULL CHECK (qty > 0),
    price_at_order INTEGER NOT NULL,
    created_at     TEXT    NOT NULL
) STRICT;

CREATE INDEX purchase_history_user_id ON purchase_history (user_id);

CREATE TABLE order_return (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id   INTEGER NOT NULL,
    qty        INTEGER NOT NULL CHECK (qty > 0),
    amount     INTEGER NOT NULL,
    created_at TEXT    NOT NULL
) STRICT;

CREATE INDEX order_return_order_id ON order_return (order_id);

-- Kept by people, not by the pipeline.
CREATE TABLE good (
    id    INTEGER NOT NULL PRIMARY KEY,
    name  TEXT,
    brand TEXT,
    price INTEGER
) STRICT;
