-- Events of the hub: each once, by its id.
CREATE TABLE hub_event (
  id BLOB PRIMARY KEY,
  received_at INTEGER NOT NULL,
  -- Which relay publishes it: a hash of the user, so that a user's events keep their order.
  shard INTEGER NOT NULL,
  user_id TEXT NOT NULL,
  event_type TEXT NOT NULL,
  -- In units of 10^-4.
  amount INTEGER NOT NULL,
  timestamp INTEGER NOT NULL,
  attributes TEXT,
  -- The caller's name for the event, within the caller's scope. NULL where there is none, and when it is forgotten.
  scope TEXT,
  idempotency_key TEXT,
  fingerprint BLOB NOT NULL,
  -- Where it is on the bus. NULL: it is not there yet.
  position TEXT,
  -- Whether it is in its minute.
  is_counted INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX hub_event_key ON hub_event (scope, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX hub_event_new ON hub_event (shard, received_at, id) WHERE position IS NULL;
CREATE INDEX hub_event_time ON hub_event (timestamp, id);
CREATE INDEX hub_event_user ON hub_event (user_id, timestamp, id);
CREATE INDEX hub_event_type ON hub_event (event_type, timestamp, id);

-- Who publishes a shard's events, under a lease.
CREATE TABLE hub_shard (
  shard INTEGER PRIMARY KEY,
  owner BLOB,
  token INTEGER NOT NULL,
  lease_until INTEGER NOT NULL
) STRICT;

-- What the events of a minute and type add up to. Sums are decimal digits in units of 10^-4: they outgrow 64 bits.
CREATE TABLE hub_minute (
  begin INTEGER NOT NULL,
  event_type TEXT NOT NULL,
  count INTEGER NOT NULL,
  sum TEXT NOT NULL,
  min INTEGER NOT NULL,
  max INTEGER NOT NULL,
  first_position TEXT NOT NULL,
  last_position TEXT NOT NULL,
  PRIMARY KEY (begin, event_type)
) STRICT, WITHOUT ROWID;
