-- The engine's tables; see the text for MySQL for what they mean. STRICT keeps the types that SQLite would let slip.

CREATE TABLE partitions (
    id INTEGER NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    lease_until_us INTEGER NOT NULL
) STRICT;

CREATE TABLE journals (
    partition_id INTEGER NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL,
    opened INTEGER NOT NULL,
    batch_no INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    published_seq INTEGER NOT NULL
) STRICT;

CREATE TABLE workflows (
    ident BLOB NOT NULL PRIMARY KEY,
    partition_id INTEGER NOT NULL,
    definition TEXT NOT NULL CHECK (length(definition) <= 128),
    version INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    status TEXT NOT NULL,
    reason TEXT CHECK (length(reason) <= 1024),
    label TEXT CHECK (length(label) <= 255),
    request_hash BLOB NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX workflows_by_status ON workflows (status, definition, created_us, ident, partition_id);

CREATE TABLE events (
    partition_id INTEGER NOT NULL,
    partition_seq INTEGER NOT NULL,
    workflow_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (partition_id, partition_seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX events_by_workflow ON events (workflow_id, seq);
