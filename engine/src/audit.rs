//! What the auditor says. It goes through the open workflows of the partitions that a node owns, again and again: each must
//! have exactly one of a driver in this process, a due time, an awaited signal, or a parked reason. What has none is an orphan:
//! counted, logged, and healed.

use serde::{Serialize, Serializer};

use crate::ids::WorkflowId;
use crate::runtime::Timestamp;

/// What is wrong with an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrphanKind {
    /// Its row says that something is to be done now, and nobody does it.
    Undriven,
    /// It was to be woken, and nobody did.
    MissedTimer,
    /// Its row says that it awaits a signal, and its journal says otherwise.
    WaitsForNothing,
    /// Its row says that it is parked, and gives no reason, or its journal says otherwise.
    ParkedWithoutReason,
    /// It is open in a partition that nobody will take over: retired, or not known.
    UnownedPartition,
}

impl OrphanKind {
    /// Its name, such as `missed-timer`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Undriven => "undriven",
            Self::MissedTimer => "missed-timer",
            Self::WaitsForNothing => "waits-for-nothing",
            Self::ParkedWithoutReason => "parked-without-reason",
            Self::UnownedPartition => "unowned-partition",
        }
    }
}

/// A workflow of which nobody took care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// Which one.
    #[serde(serialize_with = "as_text")]
    pub id: WorkflowId,
    /// What is wrong.
    pub kind: OrphanKind,
    /// Somebody takes care of it now.
    pub healed: bool,
}

fn as_text<S: Serializer>(id: &WorkflowId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// A complete pass of a node's auditor over the partitions that it owned then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// When it ended; `None` when there was none yet.
    pub at: Option<Timestamp>,
    /// Open workflows that were looked at.
    pub looked_at: u64,
    /// Those that had a driver.
    pub in_progress: u64,
    /// Those that waited for an instant.
    pub timers: u64,
    /// Those that waited for a signal.
    pub signals: u64,
    /// Those that waited for an operator.
    pub parked: u64,
    /// Those that this program can't run: it does not have their definition, or can't read their journal.
    pub quarantined: u64,
    /// The orphans that it found, at most [`ORPHANS_SHOWN_MAX`].
    pub orphans: Vec<Orphan>,
    /// Orphans that were found since the engine opened.
    pub orphans_total: u64,
    /// Those of them that were healed.
    pub healed_total: u64,
}

/// So many orphans are named in a report; the totals count all of them.
pub const ORPHANS_SHOWN_MAX: usize = 100;
