-- The balance database: accounts, what was moved, and the outcome of every operation.
-- Money is in minor units (hundredths); times are UTC text 'YYYY-MM-DD HH:MM:SS.mmm', which sorts as time.
CREATE TABLE user (
    id              INTEGER PRIMARY KEY,
    name            TEXT,
    -- balance = opening_balance + credits - debits of account_transaction, and never below zero.
    balance         INTEGER NOT NULL CHECK (balance BETWEEN 0 AND 999999999999999999),
    role            TEXT    NOT NULL DEFAULT 'customer',
    opening_balance INTEGER NOT NULL CHECK (opening_balance BETWEEN 0 AND 999999999999999999),
    created_at      TEXT    NOT NULL,
    updated_at      TEXT    NOT NULL
) STRICT;

-- What was applied, and nothing else: the double entry to user.balance.
CREATE TABLE account_transaction (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id         INTEGER NOT NULL,
    amount          INTEGER NOT NULL CHECK (amount > 0),
    type            TEXT    NOT NULL CHECK (type IN ('credit', 'debit')),
    reason          TEXT    NOT NULL,
    -- Bytes: 'evt-a' and 'EVT-A' are two keys.
    idempotency_key BLOB    NOT NULL UNIQUE,
    created_at      TEXT    NOT NULL
) STRICT;

CREATE INDEX account_transaction_user ON account_transaction (user_id, id);

-- Every operation with its outcome, refusals too: a key that comes again is answered from here.
CREATE TABLE account_operation (
    idempotency_key BLOB    NOT NULL PRIMARY KEY,
    user_id         INTEGER NOT NULL,
    amount          INTEGER NOT NULL CHECK (amount > 0),
    type            TEXT    NOT NULL CHECK (type IN ('credit', 'debit')),
    outcome         TEXT    NOT NULL CHECK (outcome IN ('applied', 'insufficient_funds')),
    created_at      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
