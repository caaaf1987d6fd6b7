//! The auditor: one pass after the other over the open workflows of the partitions that this node owns. Each must have exactly
//! one of a driver in this process, a due time, an awaited signal, or a parked reason. What has none is an orphan: counted,
//! logged once, and healed by a driver that goes on from its journal, or writes its row anew.
//!
//! What the index of open workflows tells is looked at in every pass. What only the journal tells (is the signal awaited, is
//! there a reason?) is looked at for so many workflows a pass, going round. Normal progress must never count: whoever looks
//! wrong is read again after a pause, and is driven only if nobody else was in memory since then.

mod strays;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Node;
use super::partition::OpenPartition;
use crate::audit::{AuditReport, ORPHANS_SHOWN_MAX, Orphan, OrphanKind};
use crate::executor::{Origin, Resident, Seen};
use crate::ids::{Ident, PartitionId, WorkflowId};
use crate::planted;
use crate::runtime::Timestamp;
use crate::store::{Head, OpenCursor, OpenRow, Status, StoreError};
use crate::workflow::{WorkflowState, plan};

/// Rows of the index that are read at a time.
const PAGE: u32 = 500;
/// So many workflows of a partition are read from their journal in a pass, going round.
const LOOKS_MAX: usize = 250;
/// So many suspects of a partition are read again in a pass; the rest have their turn in the next.
const SUSPECTS_MAX: usize = 1_000;
/// So many are read at a time.
const LOAD_AT_ONCE: usize = 100;
/// A workflow may be woken so late.
const GRACE: Duration = Duration::from_secs(10);
/// The pause before a suspect is read again.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// What one node's auditor remembers.
#[derive(Default)]
pub(crate) struct Auditor {
    /// One pass at a time.
    rounds: tokio::sync::Mutex<Rounds>,
    report: Mutex<AuditReport>,
}

impl Auditor {
    fn report(&self) -> std::sync::MutexGuard<'_, AuditReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the auditor is on its rounds.
#[derive(Default)]
struct Rounds {
    /// In each partition, the workflow that was read from its journal last.
    looked_up_to: HashMap<PartitionId, Ident>,
    /// Where it is in the open workflows of all partitions.
    strays_after: Option<OpenCursor>,
    /// The retired partition whose inbox was looked into last.
    retired_up_to: Option<PartitionId>,
    /// What was wrong in the last pass: it is not counted again while it lasts.
    known: HashSet<(WorkflowId, OrphanKind)>,
}

/// What a pass has found so far.
#[derive(Default)]
struct Pass {
    report: AuditReport,
    orphans: Vec<Orphan>,
}

/// The next so many idents of a round, whatever the order in which they come by.
struct Turn {
    after: Option<Ident>,
    next: BTreeSet<Ident>,
}

impl Turn {
    fn consider(&mut self, ident: Ident) {
        if self.after.is_some_and(|after| ident <= after) {
            return;
        }
        self.next.insert(ident);
        if self.next.len() > LOOKS_MAX {
            self.next.pop_last();
        }
    }

    /// Where the next turn begins: after this one's last, or anew where this one came to the end.
    fn ends_at(&self) -> Option<Ident> {
        let full = self.next.len() == LOOKS_MAX;
        self.next.last().copied().filter(|_| full)
    }
}

/// A workflow as it was read, with what was in memory before that.
struct Looked {
    seen: Option<Resident>,
    head: Head,
    state: Option<WorkflowState>,
}

impl Node {
    /// The last complete pass.
    pub(crate) fn audit_report(&self) -> AuditReport {
        self.auditor.report().clone()
    }

    /// Makes one pass after the other, until the node has given its partitions up.
    pub(crate) async fn audit_for_ever(self: Arc<Self>) {
        while !self.has_given_up() {
            self.runtime.sleep(self.settings.audit_every).await;
            if self.is_draining() {
                continue;
            }
            if let Err(error) = self.audit().await {
                tracing::warn!(%error, "a pass of the auditor was cut short");
            }
        }
    }

    /// Makes one pass.
    pub(crate) async fn audit(self: &Arc<Self>) -> Result<AuditReport, StoreError> {
        let mut rounds = self.auditor.rounds.lock().await;
        let mut pass = Pass::default();
        let partitions = self.partitions();
        let held = |id: &PartitionId| partitions.iter().any(|it| it.lease.partition == *id);
        rounds.looked_up_to.retain(|id, _| held(id));
        for partition in &partitions {
            if partition.is_recovered() && !partition.is_closed() {
                self.audit_partition(partition, &mut rounds, &mut pass)
                    .await?;
            }
        }
        self.find_strays(&mut rounds, &mut pass).await?;
        self.find_unanswered(&mut rounds).await?;
        Ok(self.conclude(&mut rounds, pass))
    }

    /// Counts and logs what is new, and keeps the report.
    fn conclude(&self, rounds: &mut Rounds, mut pass: Pass) -> AuditReport {
        for orphan in &pass.orphans {
            let Orphan { id, kind, healed } = *orphan;
            if rounds.known.contains(&(id, kind)) {
                continue;
            }
            tracing::error!(workflow.id = %id, orphan.kind = kind.name(), healed, "an orphan");
            self.metrics.orphans.add(1);
            self.metrics.healed.add(u64::from(healed));
        }
        rounds.known = pass.orphans.iter().map(|it| (it.id, it.kind)).collect();
        pass.orphans.truncate(ORPHANS_SHOWN_MAX);
        let report = AuditReport {
            at: Some(self.runtime.now()),
            quarantined: self.quarantined(),
            orphans: pass.orphans,
            orphans_total: self.metrics.orphans.get(),
            healed_total: self.metrics.healed.get(),
            ..pass.report
        };
        self.auditor.report().clone_from(&report);
        report
    }

    async fn audit_partition(
        self: &Arc<Self>,
        partition: &Arc<OpenPartition>,
        rounds: &mut Rounds,
        pass: &mut Pass,
    ) -> Result<(), StoreError> {
        let id = partition.lease.partition;
        let mut turn = Turn {
            after: rounds.looked_up_to.remove(&id),
            next: BTreeSet::new(),
        };
        let mut suspects = Vec::new();
        let mut after = None;
        loop {
            let page = self.store.open_workflows(id, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.cursor.clone());
            self.look_at_rows(partition, &page, &mut turn, &mut suspects, pass);
        }
        if let Some(last) = turn.ends_at() {
            rounds.looked_up_to.insert(id, last);
        }
        let to_look_at: Vec<Ident> = turn.next.into_iter().collect();
        for read in self.read_these(partition, &to_look_at).await? {
            if self.orphan_kind(partition, &read).is_some() {
                suspects.push(read.head.id.ident());
            }
        }
        suspects.truncate(SUSPECTS_MAX);
        if suspects.is_empty() {
            return Ok(());
        }
        self.runtime.sleep(SECOND_LOOK).await;
        for read in self.read_these(partition, &suspects).await? {
            if let Some(kind) = self.orphan_kind(partition, &read)
                && !planted::is_on("orphan-left-alone")
            {
                pass.orphans.extend(self.heal(partition, read, kind));
            }
        }
        Ok(())
    }

    /// What the index says about these.
    fn look_at_rows(
        &self,
        partition: &OpenPartition,
        rows: &[OpenRow],
        turn: &mut Turn,
        suspects: &mut Vec<Ident>,
        pass: &mut Pass,
    ) {
        let now = self.runtime.now();
        let overdue = |row: &&OpenRow| is_overdue(row.wake_at, now);
        let overdue: Vec<Ident> = rows.iter().filter(overdue).map(|row| row.ident).collect();
        let forgotten = partition.timers.forgotten(&overdue, now, GRACE);
        let report = &mut pass.report;
        for row in rows {
            let ident = row.ident;
            report.looked_at += 1;
            if self.is_driven(partition, &ident) {
                report.in_progress += 1;
                continue;
            }
            if partition.quarantine.has(&ident) {
                continue;
            }
            match (row.status, row.wake_at) {
                (Status::Waiting, Some(_)) if !forgotten.contains(&ident) => report.timers += 1,
                (Status::Waiting, None) => {
                    report.signals += 1;
                    turn.consider(ident);
                }
                (Status::Parked, _) => {
                    report.parked += 1;
                    turn.consider(ident);
                }
                _ => suspects.push(ident),
            }
        }
    }

    async fn read_these(
        &self,
        partition: &OpenPartition,
        idents: &[Ident],
    ) -> Result<Vec<Looked>, StoreError> {
        let mut all = Vec::new();
        for idents in idents.chunks(LOAD_AT_ONCE) {
            let mut seen: HashMap<Ident, Option<Resident>> = idents
                .iter()
                .map(|ident| (*ident, self.registry.get(ident)))
                .collect();
            for (head, records) in self.store.load(idents).await? {
                let foreign = head.id.partition() != partition.lease.partition;
                if foreign || head.status.is_terminal() {
                    continue;
                }
                let state = self.fold_or_quarantine(partition, &head, &records);
                let seen = seen.remove(&head.id.ident()).flatten();
                all.push(Looked { seen, head, state });
            }
        }
        Ok(all)
    }

    /// What is wrong with the workflow; `None` when somebody takes care of it, or it can't be run here.
    fn orphan_kind(&self, partition: &OpenPartition, read: &Looked) -> Option<OrphanKind> {
        let ident = read.head.id.ident();
        let state = read.state.as_ref()?;
        if self.is_driven(partition, &ident) {
            return None;
        }
        let now = self.runtime.now();
        let is_forgotten = |wake_at| {
            is_overdue(wake_at, now) && !partition.timers.forgotten(&[ident], now, GRACE).is_empty()
        };
        let (cared, kind) = match (read.head.status, read.head.wake_at) {
            (Status::Waiting, Some(at)) => (!is_forgotten(Some(at)), OrphanKind::MissedTimer),
            (Status::Waiting, None) => (awaits_only_a_signal(state), OrphanKind::WaitsForNothing),
            (Status::Parked, _) => {
                let has_reason = read.head.reason.is_some();
                let is_parked = state.status() == Status::Parked;
                (has_reason && is_parked, OrphanKind::ParkedWithoutReason)
            }
            _ => (false, OrphanKind::Undriven),
        };
        (!cared).then_some(kind)
    }

    fn is_driven(&self, partition: &OpenPartition, ident: &Ident) -> bool {
        let id = WorkflowId::new(partition.lease.partition, *ident);
        let resident = self.registry.get(ident);
        resident.is_some_and(|resident| resident.id == id && resident.is_driven())
    }

    /// Drives it. `None`: somebody was in memory since it was read, so it is no orphan.
    fn heal(
        self: &Arc<Self>,
        partition: &OpenPartition,
        read: Looked,
        kind: OrphanKind,
    ) -> Option<Orphan> {
        let (id, seen) = (read.head.id, Seen::Exactly(read.seen));
        if partition.is_closed() {
            return None;
        }
        self.drive(
            partition,
            read.head,
            read.state?,
            Origin::Journal,
            &seen,
            None,
        )
        .ok()?;
        Some(Orphan {
            id,
            kind,
            healed: true,
        })
    }
}

fn is_overdue(wake_at: Option<Timestamp>, now: Timestamp) -> bool {
    wake_at.is_some_and(|wake_at| wake_at.after(GRACE) < now)
}

/// Nothing is to be done until a signal comes.
fn awaits_only_a_signal(state: &WorkflowState) -> bool {
    let plan = plan(state, &|_| false);
    let nothing = plan.starts.is_empty() && plan.end.is_none() && plan.next_due().is_none();
    nothing && state.awaits_signal() && state.status() != Status::Parked && !state.is_terminal()
}
