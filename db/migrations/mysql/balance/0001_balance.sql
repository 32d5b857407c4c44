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
