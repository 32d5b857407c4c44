-- The books of a shard: what its events come to. Written in the same transaction as the events.

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
