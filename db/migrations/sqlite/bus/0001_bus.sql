-- The embedded bus: a log per topic and partition, and how far each group is.
CREATE TABLE bus_topic (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  partitions INTEGER NOT NULL CHECK (partitions > 0)
) STRICT;

-- first_offset: the oldest message that is kept. next_offset: what the next message gets.
CREATE TABLE bus_partition (
  id INTEGER PRIMARY KEY,
  topic INTEGER NOT NULL REFERENCES bus_topic (id),
  number INTEGER NOT NULL,
  first_offset INTEGER NOT NULL,
  next_offset INTEGER NOT NULL,
  UNIQUE (topic, number)
) STRICT;

-- place: the partition's id times 2^40, plus the offset: one tree, in which a partition's messages stand together.
CREATE TABLE bus_message (
  place INTEGER PRIMARY KEY,
  id BLOB NOT NULL,
  key BLOB NOT NULL,
  value BLOB NOT NULL,
  headers TEXT NOT NULL,
  published_at INTEGER NOT NULL
) STRICT;

-- Who has which partition of a group, under a lease. acked: the offset that is delivered next after a restart.
CREATE TABLE bus_assignment (
  group_name TEXT NOT NULL,
  partition INTEGER NOT NULL REFERENCES bus_partition (id),
  acked INTEGER NOT NULL,
  member BLOB,
  token INTEGER NOT NULL,
  lease_until INTEGER NOT NULL,
  PRIMARY KEY (group_name, partition)
) STRICT, WITHOUT ROWID;

-- The living members of a group, by the end of their leases: a fair share is the partitions divided by them.
CREATE TABLE bus_member (
  group_name TEXT NOT NULL,
  topic INTEGER NOT NULL REFERENCES bus_topic (id),
  member BLOB NOT NULL,
  lease_until INTEGER NOT NULL,
  PRIMARY KEY (group_name, topic, member)
) STRICT, WITHOUT ROWID;
