-- The engine's tables. No foreign keys and no stored procedures: a partition's rows may live on a server of their own.
-- Instants are microseconds since 1970 (`_us`); text compares byte by byte.

-- Who owns which partition. Each change of hands raises the epoch.
CREATE TABLE partitions (
    id INT UNSIGNED NOT NULL,
    owner VARCHAR(255) NOT NULL,
    epoch BIGINT NOT NULL,
    lease_until_us BIGINT NOT NULL,
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

-- One row a workflow, found by the part of its id that does not depend on where it was born. The one index serves the
-- lists, newest first, and the recovery of a partition's open workflows, which are few.
CREATE TABLE workflows (
    ident BINARY(12) NOT NULL,
    partition_id INT UNSIGNED NOT NULL,
    definition VARCHAR(128) NOT NULL,
    version INT UNSIGNED NOT NULL,
    hash BIGINT NOT NULL,
    status VARCHAR(16) NOT NULL,
    reason VARCHAR(1024) NULL,
    label VARCHAR(255) NULL,
    request_hash BINARY(32) NOT NULL,
    created_us BIGINT NOT NULL,
    updated_us BIGINT NOT NULL,
    PRIMARY KEY (ident),
    KEY workflows_by_status (status, definition, created_us, ident, partition_id)
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
