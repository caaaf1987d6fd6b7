//! A database that has been used for a while, filled by a few statements of its own: nearly all workflows have ended well,
//! nearly all are of one definition and carry one label, a few are open or parked. An ident says nothing about an instant.

use crate::ids::{Ident, PartitionId, WorkflowId};
use crate::store::sql::database::SqlDatabase;
use crate::store::sql::dialect::Dialect;
use crate::store::sql::driver::{Connection, Role};

pub(super) const PARTITIONS: u32 = 8;
/// So many commands, or one a workflow if those are fewer.
const COMMANDS_MAX: u32 = 100_000;
/// So many rows are made by one statement.
const ROWS_AT_ONCE: u32 = 100_000;

/// The label that nine of ten workflows have.
pub(super) const HUGE_LABEL: &str = "sale-1";
/// The definition that nearly all workflows have.
pub(super) const HUGE_DEFINITION: &str = "purchase";

/// When the workflow of this number was started, in microseconds: below 2^32, and no two at once.
pub(super) fn created_us(number: u32) -> i64 {
    i64::from(number.wrapping_mul(2_654_435_761))
}

/// Its id: as [`WorkflowId::new`] makes it of the number's bits.
pub(super) fn id(number: u32) -> WorkflowId {
    let digits = format!("{number:08X}");
    let digits = format!(
        "{}8{}8{}{}",
        &digits[..4],
        &digits[4..7],
        &digits[7..],
        "03".repeat(7)
    );
    let mut ident: Ident = [0; 12];
    for (byte, at) in ident.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).expect("two digits");
    }
    WorkflowId::new(PartitionId(number % PARTITIONS + 1), ident)
}

/// The numbers of workflows that are not among the oldest, which a round removes.
pub(super) fn young() -> impl Iterator<Item = u32> {
    (0..).filter(|number| created_us(*number) > i64::from(u32::MAX / 2))
}

/// Fills the engine's tables, whose partitions are there already.
pub(super) async fn fill(database: &SqlDatabase, workflows: u32) {
    let connection = database.driver().connection(Role::Migration).await;
    let mut filling = Filling {
        connection: connection.expect("a connection"),
        dialect: database.dialect(),
    };
    filling.all(workflows).await;
    filling.connection.release();
}

struct Filling {
    connection: Box<dyn Connection>,
    dialect: Dialect,
}

impl Filling {
    async fn all(&mut self, workflows: u32) {
        let mysql = self.dialect == Dialect::MySql;
        let mut indexes = Vec::new();
        if mysql {
            self.hurry().await;
            for table in ["workflows", "events"] {
                indexes.push(self.take_indexes(table).await);
            }
        }
        self.numbers().await;
        for first in (0..workflows).step_by(ROWS_AT_ONCE as usize) {
            let behind = workflows.min(first + ROWS_AT_ONCE);
            self.some_workflows(first, behind).await;
        }
        for text in indexes {
            self.run(text).await;
        }
        self.the_rest(workflows).await;
        if mysql {
            self.run(
                "ANALYZE TABLE workflows, events, commands, parked, partitions, journals".into(),
            )
            .await;
        }
    }

    async fn run(&mut self, text: String) {
        let run = self.connection.run("filling", text.clone()).await;
        run.map_err(|error| error.error.cause)
            .unwrap_or_else(|cause| panic!("{cause}: {text}"));
    }

    /// What this session may leave out, where its user may say so.
    async fn hurry(&mut self) {
        for setting in [
            "sql_log_bin = 0",
            "unique_checks = 0",
            "cte_max_recursion_depth = 1000000",
            "max_recursive_iterations = 1000000",
            "innodb_ddl_buffer_size = 67108864",
        ] {
            let text = format!("SET SESSION {setting}");
            // A server that does not know it, or does not let us, is only slower.
            let _ = self.connection.run("filling", text).await;
        }
    }

    /// Drops the table's indexes, and gives the statement that makes them again: sorted at once, they take seconds.
    async fn take_indexes(&mut self, table: &'static str) -> String {
        let text = format!(
            "SELECT index_name, non_unique, GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR ', ') \
             FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = '{table}' \
             AND index_name <> 'PRIMARY' GROUP BY index_name, non_unique"
        );
        let outcomes = self.connection.run("filling", text).await.expect("read");
        let (mut drops, mut adds) = (Vec::new(), Vec::new());
        for row in outcomes.iter().flat_map(|outcome| &outcome.rows) {
            let (name, columns) = (row.text(0).expect("a name"), row.text(2).expect("columns"));
            let unique = if row.integer(1).expect("a number") == 0 {
                "UNIQUE "
            } else {
                ""
            };
            drops.push(format!("DROP INDEX {name}"));
            adds.push(format!("ADD {unique}INDEX {name} ({columns})"));
        }
        assert!(!drops.is_empty(), "{table} has no index");
        self.run(format!("ALTER TABLE {table} {}", drops.join(", ")))
            .await;
        format!("ALTER TABLE {table} {}", adds.join(", "))
    }

    async fn numbers(&mut self) {
        self.run("CREATE TEMPORARY TABLE numbers (n INTEGER NOT NULL PRIMARY KEY)".into())
            .await;
        self.run(format!(
            "INSERT INTO numbers WITH RECURSIVE counted (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted \
             WHERE n < {}) SELECT n FROM counted",
            ROWS_AT_ONCE - 1
        ))
        .await;
    }

    async fn some_workflows(&mut self, first: u32, behind: u32) {
        let ident = self.ident();
        let partition = format!("n % {PARTITIONS} + 1");
        let created = "(n * 2654435761) % 4294967296";
        // One of a thousand each, by bits of the instant.
        let class = format!("(({created}) >> 12) % 1000");
        let half = format!("(({created}) >> 24) % 2 = 0");
        let numbers = format!(
            "(SELECT n + {first} AS n FROM numbers WHERE n < {}) AS counted",
            behind - first
        );
        self.run(format!(
            "INSERT INTO workflows (ident, partition_id, definition, version, hash, status, reason, label, wake_us, \
             request_hash, created_us, updated_us) SELECT UNHEX({ident}), {partition}, \
             CASE (n >> 3) % 50 WHEN 0 THEN 'claim' WHEN 1 THEN 'opening' ELSE '{HUGE_DEFINITION}' END, 1, 1, \
             CASE WHEN {class} < 990 THEN 'COMPLETED' WHEN {class} < 995 THEN 'COMPENSATED' \
             WHEN {class} < 996 THEN CASE WHEN {half} THEN 'ABANDONED' ELSE 'COMPENSATING' END \
             WHEN {class} < 997 THEN CASE WHEN {half} THEN 'RUNNING' ELSE 'WAITING' END ELSE 'PARKED' END, \
             CASE WHEN {class} < 990 THEN NULL WHEN {class} < 995 THEN CASE n % 5 WHEN 0 THEN 'declined' ELSE 'sold-out' END \
             WHEN {class} < 997 THEN NULL ELSE CASE n % 3 WHEN 0 THEN 'bad-data' ELSE 'gateway-timeout' END END, \
             CASE WHEN n % 10 < 9 THEN '{HUGE_LABEL}' WHEN n % 20 = 19 THEN NULL ELSE CONCAT('sale-', (n >> 4) % 1000) END, \
             NULL, {}, {created}, {created} + 10 FROM {numbers}",
            format_args!("x'{}'", "00".repeat(32)),
        ))
        .await;
        self.run(format!(
            "INSERT INTO events (partition_id, partition_seq, workflow_id, seq, kind, at_us, payload) \
             SELECT {partition}, (n >> 3) + 1, UNHEX(CONCAT({}, {ident})), 1, 'started', 0, \
             '{{\"seq\":1,\"at\":0,\"event\":{{\"type\":\"deadline-passed\"}}}}' FROM {numbers}",
            self.eight_digits(&partition),
        ))
        .await;
    }

    /// What goes with the workflows.
    async fn the_rest(&mut self, workflows: u32) {
        self.run(
            "INSERT INTO parked (ident, partition_id, definition, step, class, message, since_us, created_us) \
             SELECT ident, partition_id, definition, CASE created_us % 3 WHEN 0 THEN 'deliver' ELSE 'pay' END, reason, \
             CONCAT('no answer ', created_us % 7), updated_us, created_us FROM workflows WHERE status = 'PARKED'"
                .into(),
        )
        .await;
        let last = "(SELECT COALESCE(MAX(partition_seq), 0) FROM events WHERE partition_id = journals.partition_id)";
        self.run(format!("UPDATE journals SET last_seq = {last}"))
            .await;
        self.run("UPDATE journals SET published_seq = last_seq".into())
            .await;
        let partition = format!("n % {PARTITIONS} + 1");
        self.run(format!(
            "INSERT INTO commands (partition_id, workflow_id, name, verb, body, actor, reason, batch_id, accepted_us, \
             state, seq, answered_us) SELECT {partition}, UNHEX(CONCAT({}, {})), CONCAT('k', n), 'retry', \
             '{{\"verb\":\"retry\"}}', 'op', 'why', CASE n % 2 WHEN 0 THEN 1 ELSE NULL END, n, \
             CASE WHEN n % 1000 < 8 THEN 0 ELSE 1 END, 1, n FROM numbers WHERE n < {}",
            self.eight_digits(&partition),
            self.ident(),
            COMMANDS_MAX.min(workflows),
        ))
        .await;
    }

    /// The ident's digits, as [`id`] has them.
    fn ident(&self) -> String {
        let digits = self.eight_digits("n");
        format!(
            "CONCAT(SUBSTR({digits}, 1, 4), '8', SUBSTR({digits}, 5, 3), '8', SUBSTR({digits}, 8, 1), '{}')",
            "03".repeat(7)
        )
    }

    fn eight_digits(&self, number: &str) -> String {
        match self.dialect {
            Dialect::MySql => format!("LPAD(HEX({number}), 8, '0')"),
            Dialect::Sqlite => format!("printf('%08X', {number})"),
        }
    }
}
