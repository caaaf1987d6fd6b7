-- The engine's tables; see the text for MySQL for what they mean. STRICT keeps the types that SQLite would let slip.

CREATE TABLE partitions (
    id INTEGER NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    lease_until_us INTEGER NOT NULL,
    retired INTEGER NOT NULL
) STRICT;

CREATE TABLE journals (
    partition_id INTEGER NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL,
    opened INTEGER NOT NULL,
    batch_no INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    published_seq INTEGER NOT NULL
) STRICT;

CREATE TABLE definitions (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE workflows (
    ident BLOB NOT NULL PRIMARY KEY,
    partition_id INTEGER NOT NULL,
    definition TEXT NOT NULL CHECK (length(definition) <= 128),
    version INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    status TEXT NOT NULL,
    reason TEXT CHECK (length(reason) <= 255),
    label TEXT CHECK (length(label) <= 255),
    wake_us INTEGER,
    request_hash BLOB NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX workflows_by_status ON workflows (status, definition, created_us, ident, partition_id, wake_us, version);
CREATE INDEX workflows_by_label ON workflows (label, created_us, ident);
CREATE INDEX workflows_by_reason ON workflows (reason, created_us, ident);

CREATE TABLE parked (
    ident BLOB NOT NULL PRIMARY KEY,
    partition_id INTEGER NOT NULL,
    definition TEXT NOT NULL,
    step TEXT NOT NULL,
    class TEXT NOT NULL CHECK (length(class) <= 255),
    message TEXT NOT NULL CHECK (length(message) <= 300),
    since_us INTEGER NOT NULL,
    created_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX parked_by_step ON parked (step, created_us, ident);
CREATE INDEX parked_by_error ON parked (class, definition, step, message, since_us);

CREATE TABLE commands (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    partition_id INTEGER NOT NULL,
    workflow_id BLOB NOT NULL,
    name TEXT NOT NULL CHECK (length(CAST(name AS BLOB)) <= 200),
    verb TEXT NOT NULL,
    body TEXT NOT NULL,
    actor TEXT NOT NULL CHECK (length(actor) <= 200),
    reason TEXT NOT NULL CHECK (length(reason) <= 1000),
    expected_seq INTEGER,
    batch_id INTEGER,
    accepted_us INTEGER NOT NULL,
    state INTEGER NOT NULL,
    answer TEXT CHECK (length(answer) <= 1000),
    seq INTEGER,
    answered_us INTEGER
) STRICT;

CREATE UNIQUE INDEX commands_by_name ON commands (workflow_id, name);
CREATE INDEX commands_by_state ON commands (partition_id, state, id);
CREATE INDEX commands_by_batch ON commands (batch_id, id);

CREATE TABLE batches (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE CHECK (length(CAST(name AS BLOB)) <= 200),
    filter TEXT NOT NULL,
    verb TEXT NOT NULL,
    actor TEXT NOT NULL CHECK (length(actor) <= 200),
    reason TEXT NOT NULL CHECK (length(reason) <= 1000),
    per_second INTEGER NOT NULL,
    state INTEGER NOT NULL,
    place TEXT,
    submitted INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    worker TEXT,
    worker_until_us INTEGER NOT NULL
) STRICT;

CREATE INDEX batches_by_state ON batches (state, id);

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
