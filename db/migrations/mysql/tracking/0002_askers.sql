-- Who asked last for tasks of a stage and shard, so that a stage without a worker can be told from one that has nothing
-- to do, through whichever instance of the API it asked. Shard -1: of any shard.
CREATE TABLE IF NOT EXISTS pipeline_asker (
    stage    ENUM('event-ingest', 'shard-splitter', 'shard-worker', 'mysql-sender') NOT NULL,
    shard    TINYINT      NOT NULL,
    worker   VARCHAR(255) NOT NULL,
    asked_at DATETIME(3)  NOT NULL,
    PRIMARY KEY (stage, shard)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
