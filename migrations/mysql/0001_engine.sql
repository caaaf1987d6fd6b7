-- The engine's tables. No foreign keys and no stored procedures: a partition's rows may live on a server of their own.
-- Instants are microseconds since 1970 (`_us`); text compares byte by byte.

-- Who owns which partition. Each change of hands raises the epoch.
CREATE TABLE partitions (
    id INT UNSIGNED NOT NULL,
    owner VARCHAR(255) NOT NULL,
    epoch BIGINT NOT NULL,
    lease_until_us BIGINT NOT NULL,
    -- 1 when nothing in it is open or unpublished and nobody needs to own it
    retired TINYINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Where each partition's journal stands. Every batch writes its row: NULL in `epoch` (the lease is not held) or in
-- `batch_no` (the batch does not continue the journal) makes the whole batch fail.
CREATE TABLE journals (
    partition_id INT UNSIGNED NOT NULL,
    epoch BIGINT NOT NULL,
    opened BIGINT NOT NULL,
    batch_no BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    published_seq BIGINT NOT NULL,
    PRIMARY KEY (partition_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The definitions that workflows were ever started with: a name and version stands for one graph.
CREATE TABLE definitions (
    name VARCHAR(128) NOT NULL,
    version INT UNSIGNED NOT NULL,
    hash BIGINT NOT NULL,
    PRIMARY KEY (name, version)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- One row a workflow, found by the part of its id that does not depend on where it was born. `workflows_by_status` serves the
-- lists, newest first, and covers what recovery and the auditor read of the open ones, which are few. The other two indexes are
-- written once a workflow, at their ends.
CREATE TABLE workflows (
    ident BINARY(12) NOT NULL,
    partition_id INT UNSIGNED NOT NULL,
    definition VARCHAR(128) NOT NULL,
    version INT UNSIGNED NOT NULL,
    hash BIGINT NOT NULL,
    status VARCHAR(16) NOT NULL,
    reason VARCHAR(255) NULL,
    label VARCHAR(255) NULL,
    -- when a waiting workflow is woken; NULL when only a signal wakes it
    wake_us BIGINT NULL,
    request_hash BINARY(32) NOT NULL,
    created_us BIGINT NOT NULL,
    updated_us BIGINT NOT NULL,
    PRIMARY KEY (ident),
    KEY workflows_by_status (status, definition, created_us, ident, partition_id, wake_us, version),
    KEY workflows_by_label (label, created_us, ident),
    KEY workflows_by_reason (reason, created_us, ident)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What waits for an operator, and why: a row for as long as its workflow is parked.
CREATE TABLE parked (
    ident BINARY(12) NOT NULL,
    partition_id INT UNSIGNED NOT NULL,
    definition VARCHAR(128) NOT NULL,
    -- empty when it is not about one step
    step VARCHAR(60) NOT NULL,
    class VARCHAR(255) NOT NULL,
    -- the error without what differs from one to the next
    message VARCHAR(300) NOT NULL,
    since_us BIGINT NOT NULL,
    -- when its workflow was started: lists by step are newest first, too
    created_us BIGINT NOT NULL,
    PRIMARY KEY (ident),
    KEY parked_by_step (step, created_us, ident),
    KEY parked_by_error (class, definition, step, message, since_us)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What operators, and the outside by signals, asked of workflows. A pending row is in the inbox of the workflow's owner; an
-- answered one says who did what, when, and what became of it.
CREATE TABLE commands (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    partition_id INT UNSIGNED NOT NULL,
    workflow_id BINARY(16) NOT NULL,
    -- its sender's name for it, byte by byte: MySQL would take text that only ends in more blanks for the same
    name VARBINARY(200) NOT NULL,
    verb VARCHAR(16) NOT NULL,
    body LONGTEXT NOT NULL,
    actor VARCHAR(200) NOT NULL,
    reason VARCHAR(1000) NOT NULL,
    expected_seq INT UNSIGNED NULL,
    batch_id BIGINT UNSIGNED NULL,
    accepted_us BIGINT NOT NULL,
    -- 0 pending, 1 done, 2 refused
    state TINYINT NOT NULL,
    -- why it was refused
    answer VARCHAR(1000) NULL,
    -- the record that carried it out
    seq INT UNSIGNED NULL,
    answered_us BIGINT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY commands_by_name (workflow_id, name),
    KEY commands_by_state (partition_id, state, id),
    KEY commands_by_batch (batch_id, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- A command to many workflows: those that pass a filter get theirs one after the other, at a rate.
CREATE TABLE batches (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    -- its sender's name for it, byte by byte: MySQL would take text that only ends in more blanks for the same
    name VARBINARY(200) NOT NULL,
    -- which workflows, as JSON
    filter LONGTEXT NOT NULL,
    -- the verb, as JSON
    verb LONGTEXT NOT NULL,
    actor VARCHAR(200) NOT NULL,
    reason VARCHAR(1000) NOT NULL,
    per_second INT UNSIGNED NOT NULL,
    -- 0 running, 1 finished, 2 stopped
    state TINYINT NOT NULL,
    -- the place in the list up to which commands were submitted, as JSON; NULL at the beginning
    place LONGTEXT NULL,
    submitted BIGINT UNSIGNED NOT NULL,
    created_us BIGINT NOT NULL,
    -- the node that works on it, and until when it may
    worker VARCHAR(255) NULL,
    worker_until_us BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY batches_by_name (name),
    KEY batches_by_state (state, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The journal, which is the outbox, too: gapless and in commit order by (partition_id, partition_seq).
CREATE TABLE events (
    partition_id INT UNSIGNED NOT NULL,
    partition_seq BIGINT NOT NULL,
    workflow_id BINARY(16) NOT NULL,
    seq INT UNSIGNED NOT NULL,
    kind VARCHAR(32) NOT NULL,
    at_us BIGINT NOT NULL,
    payload LONGTEXT NOT NULL,
    PRIMARY KEY (partition_id, partition_seq),
    UNIQUE KEY events_by_workflow (workflow_id, seq)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
