-- What an operator asks the tracking database, and how a claim works. For MySQL 8.0+ and 9, and MariaDB 10.6+.
-- The file runs from top to bottom: it works on a task of its own (19700101000000, shard 0) and takes it away again.
-- Everything else it only reads. shopctl does the same through its API: see docs/pipeline-apid.md.

USE pipeline_db;
SET time_zone = '+00:00';

-- How much is in which status, by stage.
SELECT 'event-ingest' AS stage, event_ingest_status AS status, COUNT(*) AS tasks FROM pipeline_tracking GROUP BY event_ingest_status
UNION ALL SELECT 'shard-splitter', shard_splitter_status, COUNT(*) FROM pipeline_tracking GROUP BY shard_splitter_status
UNION ALL SELECT 'shard-worker', shard_worker_status, COUNT(*) FROM pipeline_tracking GROUP BY shard_worker_status
UNION ALL SELECT 'mysql-sender', mysql_sender_status, COUNT(*) FROM pipeline_tracking GROUP BY mysql_sender_status;

-- What waits: ready for the shard-worker, oldest first.
SELECT filename, shard, created_at FROM pipeline_tracking
WHERE shard_worker_status = 'new' AND shard_splitter_status = 'done'
ORDER BY id LIMIT 100;

-- What waits for its next attempt, and why.
SELECT filename, shard, attempts, next_at, last_error FROM pipeline_tracking
WHERE next_at > UTC_TIMESTAMP(3)
ORDER BY next_at LIMIT 100;

-- What is in work, by whom, and how long its lease still runs.
SELECT filename, shard, owner, token, attempts, started_at,
       TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(3), lease_until) AS lease_seconds
FROM pipeline_tracking
WHERE lease_until IS NOT NULL
ORDER BY lease_until LIMIT 100;

-- What is stuck: the lease ran out and no worker took it over, or a plain start has not been reported for an hour.
SELECT filename, shard, owner, started_at, lease_until FROM pipeline_tracking
WHERE lease_until < UTC_TIMESTAMP(3)
   OR (lease_until IS NULL AND started_at < UTC_TIMESTAMP(3) - INTERVAL 1 HOUR
       AND 'started' IN (shard_splitter_status, shard_worker_status, mysql_sender_status))
ORDER BY started_at LIMIT 100;

-- What failed, and why.
SELECT filename, shard,
       CASE 'failed' WHEN shard_splitter_status THEN 'shard-splitter' WHEN shard_worker_status THEN 'shard-worker'
                     ELSE 'mysql-sender' END AS stage,
       last_error, updated_at
FROM pipeline_tracking
WHERE 'failed' IN (shard_splitter_status, shard_worker_status, mysql_sender_status)
ORDER BY updated_at DESC LIMIT 100;

-- Files that are delivered to all their shards.
SELECT filename, COUNT(*) AS shards, MAX(updated_at) AS delivered_at FROM pipeline_tracking
GROUP BY filename HAVING SUM(mysql_sender_status <> 'done') = 0
ORDER BY filename DESC LIMIT 100;

-- Reports that break the conservation law. There must be none.
SELECT filename, shard, stage FROM pipeline_stage_result
WHERE lines_read <> lines_written + lines_duplicate + lines_rejected + lines_held - lines_released;

-- Files whose shards and rejects do not add up to the lines of the event file. There must be none.
SELECT s.filename, MAX(i.output_lines) AS event_lines, SUM(s.lines_written + s.lines_rejected) AS kept
FROM pipeline_stage_result s
JOIN pipeline_stage_result i ON i.filename = s.filename AND i.shard = s.shard AND i.stage = 'event-ingest'
WHERE s.stage = 'shard-splitter'
GROUP BY s.filename
HAVING COUNT(*) = (SELECT COUNT(*) FROM pipeline_tracking t WHERE t.filename = s.filename)
   AND SUM(s.lines_written + s.lines_rejected) <> MAX(i.output_lines);

-- How long a stage takes, over the last day.
SELECT stage, COUNT(*) AS tasks, AVG(TIMESTAMPDIFF(MICROSECOND, started_at, finished_at)) / 1000000 AS seconds
FROM pipeline_stage_result
WHERE finished_at > UTC_TIMESTAMP(3) - INTERVAL 1 DAY
GROUP BY stage;

-- A task to show the moves with.
INSERT INTO pipeline_tracking (filename, event_ingest_status, shard_splitter_status, shard, created_at, updated_at, shards_count)
VALUES ('19700101000000', 'done', 'done', 0, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), 1);

-- Claim: the conditional UPDATE is the claim. One row changed = the task is ours, and LAST_INSERT_ID() is the new token;
-- no row changed = another claim won.
UPDATE pipeline_tracking
SET shard_worker_status = 'started', token = LAST_INSERT_ID(token + 1), attempts = attempts + 1, owner = 'by hand',
    claim_id = 'example', started_at = UTC_TIMESTAMP(3), lease_until = UTC_TIMESTAMP(3) + INTERVAL 60 SECOND,
    next_at = NULL, updated_at = UTC_TIMESTAMP(3)
WHERE filename = '19700101000000' AND shard = 0 AND shard_splitter_status = 'done'
  AND ((shard_worker_status = 'new' AND (next_at IS NULL OR next_at <= UTC_TIMESTAMP(3)))
       OR (shard_worker_status = 'started' AND lease_until < UTC_TIMESTAMP(3)));
SELECT ROW_COUNT() AS claimed, LAST_INSERT_ID() AS token;
SET @token = LAST_INSERT_ID();

-- Heartbeat: only the holder of the newest token extends the lease.
UPDATE pipeline_tracking SET lease_until = UTC_TIMESTAMP(3) + INTERVAL 60 SECOND
WHERE filename = '19700101000000' AND shard = 0 AND shard_worker_status = 'started'
  AND lease_until IS NOT NULL AND token = @token;

-- Done by a late worker: its token is not the newest, so nothing changes.
UPDATE pipeline_tracking SET shard_worker_status = 'done'
WHERE filename = '19700101000000' AND shard = 0 AND shard_worker_status = 'started'
  AND lease_until IS NOT NULL AND token = @token - 1;
SELECT ROW_COUNT() AS late_worker_changed;

-- Done by the holder.
UPDATE pipeline_tracking
SET shard_worker_status = 'done', attempts = 0, claim_id = NULL, lease_until = NULL, next_at = NULL,
    last_error = NULL, updated_at = UTC_TIMESTAMP(3)
WHERE filename = '19700101000000' AND shard = 0 AND shard_worker_status = 'started'
  AND lease_until IS NOT NULL AND token = @token;
SELECT ROW_COUNT() AS holder_changed;

-- The task of this file is taken away again.
DELETE FROM pipeline_tracking WHERE filename = '19700101000000' AND shard = 0;
