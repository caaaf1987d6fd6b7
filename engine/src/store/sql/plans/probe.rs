//! What a call of the store may do to the database, and whether that is all that it did.

use std::future::Future;
use std::sync::Arc;

use super::access::{Access, Extent};
use super::recorder::Watch;

/// The tables that grow with use.
const LARGE: [&str; 4] = ["workflows", "events", "commands", "parked"];
/// The tables, and what stands for one in a plan, that do not.
const SMALL: [&str; 12] = [
    "partitions",
    "p",
    "journals",
    "j",
    "definitions",
    "batches",
    "entries",
    "next",
    "stretch",
    "counted",
    "sorted",
    "CONSTANT",
];

/// What a server may read of its own dictionary when it uses a small table for the first time.
pub(super) const DICTIONARY: u64 = 100;

pub(super) const WORKFLOW: (&str, &str) = ("workflows", "PRIMARY");
pub(super) const BY_STATUS: (&str, &str) = ("workflows", "workflows_by_status");
pub(super) const BY_LABEL: (&str, &str) = ("workflows", "workflows_by_label");
pub(super) const BY_REASON: (&str, &str) = ("workflows", "workflows_by_reason");
pub(super) const BY_STEP: (&str, &str) = ("parked", "parked_by_step");
pub(super) const BY_ERROR: (&str, &str) = ("parked", "parked_by_error");
pub(super) const PARKED: (&str, &str) = ("parked", "PRIMARY");
pub(super) const EVENT: (&str, &str) = ("events", "PRIMARY");
pub(super) const BY_WORKFLOW: (&str, &str) = ("events", "events_by_workflow");
pub(super) const COMMAND: (&str, &str) = ("commands", "PRIMARY");
pub(super) const BY_NAME: (&str, &str) = ("commands", "commands_by_name");
pub(super) const BY_STATE: (&str, &str) = ("commands", "commands_by_state");
pub(super) const BY_BATCH: (&str, &str) = ("commands", "commands_by_batch");

/// What a call may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    name: &'static str,
    /// Each large table with the indexes by which it is read; no others, and each of these.
    by: &'static [(&'static str, &'static str)],
    /// At most so many entries of indexes and rows of tables are read.
    reads_max: u64,
    sorts: bool,
    walks: bool,
}

impl Expected {
    /// Exactly these tables by exactly these indexes, up to so many entries and rows.
    pub(super) const fn new(
        name: &'static str,
        by: &'static [(&'static str, &'static str)],
        reads_max: u64,
    ) -> Self {
        Self {
            name,
            by,
            reads_max,
            sorts: false,
            walks: false,
        }
    }

    /// What it finds, which is not much, is sorted.
    pub(super) const fn sorting(mut self) -> Self {
        self.sorts = true;
        self
    }

    /// It goes along an index from one end on, up to its limit.
    pub(super) const fn walking(mut self) -> Self {
        self.walks = true;
        self
    }
}

/// Makes the calls and judges what they did.
pub(super) struct Probe {
    watch: Arc<Watch>,
    counts: bool,
    /// What was not as it should be.
    pub wrong: Vec<String>,
    /// Each call with its number of reads.
    pub reads: Vec<(&'static str, u64)>,
    /// How many ways into tables were looked at.
    pub accesses: usize,
}

impl Probe {
    /// `counts`: the database counts what it reads.
    pub(super) fn new(watch: Arc<Watch>, counts: bool) -> Self {
        Self {
            watch,
            counts,
            wrong: Vec::new(),
            reads: Vec::new(),
            accesses: 0,
        }
    }

    /// Makes the call, which must do what is expected.
    pub(super) async fn call<T>(&mut self, expected: Expected, call: impl Future<Output = T>) -> T {
        self.watch.take();
        let outcome = call.await;
        let seen = self.watch.take();
        let accesses: Vec<&Access> = seen.iter().flat_map(|seen| &seen.accesses).collect();
        let mut complaints = Vec::new();
        for access in &accesses {
            complaints.extend(complaint(&expected, access));
        }
        for (table, index) in expected.by {
            let is_used = |access: &&&Access| {
                access.table == *table && access.index.as_deref() == Some(index)
            };
            if !accesses.iter().any(|access| is_used(&access)) {
                complaints.push(format!("{table} is not read by {index}"));
            }
        }
        let reads: u64 = seen.iter().map(|seen| seen.reads).sum();
        let counts_none = self.counts && reads == 0 && !expected.by.is_empty();
        if reads > expected.reads_max || counts_none {
            let most = expected.reads_max;
            complaints.push(format!("{reads} reads, at most {most} are expected"));
        }
        self.reads.push((expected.name, reads));
        self.accesses += accesses.len();
        let named = complaints
            .into_iter()
            .map(|what| format!("{}: {what}", expected.name));
        self.wrong.extend(named);
        outcome
    }
}

/// What is wrong with this way into a table.
fn complaint(expected: &Expected, access: &Access) -> Option<String> {
    let table = access.table.as_str();
    let is_small = SMALL.contains(&table) || table.starts_with('<') || table.starts_with('(');
    if access.sorts && !is_small && !expected.sorts {
        return Some(format!("sorts: {}", access.line));
    }
    if is_small {
        return None;
    }
    if !LARGE.contains(&table) {
        return Some(format!("a table that is not known: {}", access.line));
    }
    let index = access.index.as_deref();
    let is_expected = expected
        .by
        .iter()
        .any(|(of, by)| *of == table && Some(*by) == index);
    let walks = access.extent == Extent::Walk && !expected.walks;
    let is_wrong = !is_expected || walks || access.extent == Extent::Whole;
    is_wrong.then(|| access.line.clone())
}
