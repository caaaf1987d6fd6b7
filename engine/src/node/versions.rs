//! What this program can't run: a workflow whose definition it does not have, or whose journal it can't read, is quarantined. It
//! is counted, shown, and left as it is; nothing is ever guessed.
//!
//! While a new version is rolled out, nodes with and without it live side by side. A node that has taken over a partition in
//! which it lacks a definition passes it on: it lets what it drives there come to an end, gives the lease back, and stays away
//! for three leases, so that others have their turn. Where nobody has the definition the partition would go round for ever, so
//! each time it comes back it is kept for twice as long before it is offered again. Where this node is alone it keeps it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Node;
use super::partition::OpenPartition;
use crate::engine::OpenError;
use crate::ids::{Ident, PartitionId};
use crate::runtime::Timestamp;
use crate::store::{Head, OpenRow};
use crate::workflow::{DefinitionRef, IllegalTransition, Record, WorkflowState};

/// So many leases long a partition that was passed on is left to others.
const AWAY_LEASES: u32 = 3;
/// The time for which it is then kept doubles so often at most.
const DOUBLINGS_MAX: u32 = 8;
/// How often a condition is looked at that nobody announces.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A writer may take so long to end.
const END_LIMIT: Duration = Duration::from_millis(500);

/// Why a workflow can't be run here.
enum Unreadable {
    NoDefinition(DefinitionRef),
    NoRecords,
    Illegal(IllegalTransition),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDefinition(definition) => write!(f, "this program does not have {definition}"),
            Self::NoRecords => f.write_str("it has no records"),
            Self::Illegal(illegal) => write!(f, "its records do not fold: {illegal}"),
        }
    }
}

#[derive(Default)]
struct Quarantined {
    without_definition: HashSet<Ident>,
    unreadable: HashSet<Ident>,
}

/// The workflows of an open partition that can't be run here. As with its timers there is an entry for each of them.
#[derive(Default)]
pub(crate) struct Quarantine(Mutex<Quarantined>);

impl Quarantine {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        let inner = self.lock();
        inner.without_definition.len() + inner.unreadable.len()
    }

    pub(super) fn has(&self, ident: &Ident) -> bool {
        let inner = self.lock();
        inner.without_definition.contains(ident) || inner.unreadable.contains(ident)
    }

    /// Another node may be able to run this one.
    pub(super) fn lacks_definition(&self, ident: &Ident) -> bool {
        self.lock().without_definition.contains(ident)
    }

    /// Another node may be able to run some of them.
    fn lacks_definitions(&self) -> bool {
        !self.lock().without_definition.is_empty()
    }

    fn add_without_definition(&self, ident: Ident) {
        self.lock().without_definition.insert(ident);
    }

    /// `true`: it is new here.
    fn add(&self, ident: Ident, why: &Unreadable) -> bool {
        let mut inner = self.lock();
        match why {
            Unreadable::NoDefinition(_) => inner.without_definition.insert(ident),
            Unreadable::NoRecords | Unreadable::Illegal(_) => inner.unreadable.insert(ident),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Quarantined> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A partition that was passed on.
struct PassedOn {
    times: u32,
    /// It is left to others until then.
    away_until: Timestamp,
    /// If it comes back, it is not offered again before.
    keep_until: Timestamp,
}

/// The partitions that this node has passed on.
#[derive(Default)]
pub(crate) struct PassedOnPartitions(Mutex<HashMap<PartitionId, PassedOn>>);

impl PassedOnPartitions {
    fn note(&self, partition: PartitionId, now: Timestamp, lease: Duration) {
        let mut known = self.lock();
        let longest = lease * AWAY_LEASES * (1 << (DOUBLINGS_MAX + 1));
        known.retain(|_, passed| now < passed.keep_until.after(longest));
        let times = known.get(&partition).map_or(1, |passed| passed.times + 1);
        let away_until = now.after(lease * AWAY_LEASES);
        let keep = lease * AWAY_LEASES * (1 << times.min(DOUBLINGS_MAX));
        let keep_until = away_until.after(keep);
        let passed = PassedOn {
            times,
            away_until,
            keep_until,
        };
        known.insert(partition, passed);
    }

    fn away(&self, now: Timestamp) -> Vec<PartitionId> {
        let known = self.lock();
        let away = known.iter().filter(|(_, it)| now < it.away_until);
        away.map(|(id, _)| *id).collect()
    }

    fn is_kept(&self, partition: PartitionId, now: Timestamp) -> bool {
        let known = self.lock();
        known
            .get(&partition)
            .is_some_and(|passed| now < passed.keep_until)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PartitionId, PassedOn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Notes the definitions of this program in the store, or finds that one of them was changed under its version.
    pub(crate) async fn register_definitions(&self) -> Result<(), OpenError> {
        let pinned = self.definitions.iter().map(|it| it.pinned().clone());
        let pinned: Vec<DefinitionRef> = pinned.collect();
        let known = self.store.register_definitions(&pinned).await?;
        let Some(known) = known.into_iter().next() else {
            return Ok(());
        };
        let same_version = |own: &&DefinitionRef| {
            (own.name.as_str(), own.version) == (known.name.as_str(), known.version)
        };
        let here = pinned.iter().find(same_version).map_or(0, |own| own.hash);
        Err(OpenError::DefinitionChanged {
            name_version: known.to_string(),
            known: known.hash,
            here,
            next_version: known.version.saturating_add(1),
        })
    }

    /// How many workflows of this node's partitions are quarantined.
    pub(crate) fn quarantined(&self) -> u64 {
        let partitions = self.partitions();
        partitions.iter().map(|it| it.quarantine.len() as u64).sum()
    }

    /// The state that these records fold to; `None` when this program can't tell.
    pub(super) fn fold(&self, head: &Head, records: &[Record]) -> Option<WorkflowState> {
        self.read(head, records).ok()
    }

    /// Like [`Node::fold`], for a workflow of this partition: one that can't be run here is quarantined.
    pub(super) fn fold_or_quarantine(
        &self,
        partition: &OpenPartition,
        head: &Head,
        records: &[Record],
    ) -> Option<WorkflowState> {
        match self.read(head, records) {
            Ok(state) => Some(state),
            Err(why) => {
                if partition.quarantine.add(head.id.ident(), &why) {
                    tracing::error!(workflow.id = %head.id, definition = %head.definition, %why, "quarantined");
                }
                None
            }
        }
    }

    /// Those of these open workflows whose definition this program has; the others are quarantined.
    pub(super) fn those_it_can_run(
        &self,
        partition: &OpenPartition,
        rows: Vec<OpenRow>,
    ) -> Vec<OpenRow> {
        let (known, unknown): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| {
            let pinned = self.definitions.iter().map(|it| it.pinned());
            let mut same_name = pinned.filter(|it| it.name == row.cursor.definition);
            same_name.any(|it| it.version == row.version)
        });
        let mut counts: BTreeMap<(String, u32), usize> = BTreeMap::new();
        for row in unknown {
            partition.quarantine.add_without_definition(row.ident);
            let key = (row.cursor.definition, row.version);
            *counts.entry(key).or_default() += 1;
        }
        for ((name, version), workflows) in counts {
            tracing::error!(partition.id = %partition.lease.partition, definition = %format_args!("{name} v{version}"), workflows, "quarantined: this program does not have their definition");
        }
        known
    }

    fn read(&self, head: &Head, records: &[Record]) -> Result<WorkflowState, Unreadable> {
        let definition = self
            .definition(&head.definition)
            .ok_or_else(|| Unreadable::NoDefinition(head.definition.clone()))?;
        WorkflowState::fold(definition, records)
            .map_err(Unreadable::Illegal)?
            .ok_or(Unreadable::NoRecords)
    }

    /// The partitions that this node has passed on, while it is the others' turn.
    pub(super) fn stays_away_from(&self) -> Vec<PartitionId> {
        self.passed_on.away(self.runtime.now())
    }

    /// Passes on the partitions in which this node lacks a definition, until the node has given its partitions up.
    pub(crate) async fn pass_partitions_on(self: Arc<Self>) {
        while !self.has_given_up() {
            self.runtime.sleep(self.settings.lease / 3).await;
            for partition in self.partitions() {
                if self.is_to_be_passed_on(&partition).await {
                    self.pass_on(partition).await;
                }
            }
        }
    }

    async fn is_to_be_passed_on(&self, partition: &OpenPartition) -> bool {
        let id = partition.lease.partition;
        let can_be = partition.is_recovered() && !partition.is_own() && !self.is_draining();
        can_be
            && partition.quarantine.lacks_definitions()
            && !self.passed_on.is_kept(id, self.runtime.now())
            && self.has_company().await
    }

    async fn pass_on(&self, partition: Arc<OpenPartition>) {
        let lease = partition.lease.clone();
        tracing::warn!(partition.id = %lease.partition, "the partition is passed on: this program lacks definitions of its workflows");
        let id = lease.partition;
        let until = self.runtime.now().after(self.settings.lease);
        self.holds_by(until, || !self.registry.drives(id)).await;
        let until = self.runtime.now().after(self.settings.lease / 3);
        self.holds_by(until, || partition.unpublished() == 0).await;
        let now = self.runtime.now();
        self.passed_on.note(id, now, self.settings.lease);
        let mut ended = partition.writer_ended.clone();
        // The writer ends when the last handle to it is gone.
        drop(partition);
        self.close_partition(&lease);
        let end = ended.wait_for(|ended| *ended);
        if self.runtime.within(END_LIMIT, end).await.is_none() {
            tracing::warn!(partition.id = %id, "a journal writer did not end in time");
        }
        self.give_back(&lease).await;
    }

    /// Waits until this holds, at most until `deadline`.
    async fn holds_by(&self, deadline: Timestamp, holds: impl Fn() -> bool) {
        while !holds() && self.runtime.now() < deadline {
            self.runtime.sleep(LOOK_AGAIN).await;
        }
    }
}
