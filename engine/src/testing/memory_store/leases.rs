//! Who owns which partition, by the runtime's clock.

use std::time::Duration;

use super::{MemoryStore, Owned, Rows};
use crate::ids::{Epoch, NodeName, PartitionId};
use crate::runtime::Timestamp;
use crate::store::rules::share;
use crate::store::{CommandState, Lease, StoreError};

pub(super) fn acquire(
    store: &MemoryStore,
    node: &NodeName,
    wanted: u16,
    held: &[PartitionId],
    lease: Duration,
) -> Result<Vec<Lease>, StoreError> {
    let now = store.runtime.now();
    let mut tables = store.up("taking partitions")?;
    let wanted = usize::from(wanted).saturating_sub(held.len());
    let ids_of = |tables: &Rows, which: &dyn Fn(&Owned) -> bool| -> Vec<u32> {
        let found = tables.partitions.iter().filter(|(_, owned)| which(owned));
        let ids = found.map(|(id, _)| *id);
        ids.filter(|id| !held.contains(&PartitionId(*id))).collect()
    };
    let is_own = |owned: &Owned| owned.owner == node.0;
    let mut ids = ids_of(&tables, &|owned| !owned.retired && is_own(owned));
    let expired = |owned: &Owned| !owned.retired && !is_own(owned) && owned.lease_until <= now;
    let mut free = ids_of(&tables, &expired);
    free.extend(ids_of(&tables, &|owned| owned.retired));
    let missing = wanted.saturating_sub(ids.len());
    ids.extend(free.into_iter().take(missing));
    let next = tables.partitions.keys().last().map_or(1, |last| last + 1);
    let missing = wanted.saturating_sub(ids.len());
    ids.extend((next..).take(missing));
    let until = now.after(lease);
    let leases = ids.into_iter().map(|id| take(&mut tables, id, node, until));
    Ok(leases.collect())
}

pub(super) fn adopt_expired(
    store: &MemoryStore,
    node: &NodeName,
    but: &[PartitionId],
    lease: Duration,
) -> Result<Vec<Lease>, StoreError> {
    let now = store.runtime.now();
    let mut tables = store.up("adopting partitions")?;
    let in_use = tables.partitions.iter().filter(|(_, owned)| !owned.retired);
    let (expired, live): (Vec<_>, Vec<_>) = in_use.partition(|(_, owned)| owned.lease_until <= now);
    let expired = expired.into_iter().map(|(id, _)| *id);
    let expired = expired.filter(|id| !but.contains(&PartitionId(*id)));
    let live = live.iter().map(|(_, owned)| owned.owner.as_str());
    let until = now.after(lease);
    let ids = share(node, live, expired.collect());
    let leases = ids.into_iter().map(|id| take(&mut tables, id, node, until));
    Ok(leases.collect())
}

fn take(tables: &mut Rows, id: u32, node: &NodeName, until: Timestamp) -> Lease {
    let owned = tables.partitions.entry(id).or_default();
    owned.owner.clone_from(&node.0);
    owned.epoch += 1;
    owned.lease_until = until;
    owned.retired = false;
    Lease {
        partition: PartitionId(id),
        epoch: Epoch(owned.epoch),
    }
}

pub(super) fn retire(store: &MemoryStore, lease: &Lease) -> Result<bool, StoreError> {
    let mut tables = store.up("retiring a partition")?;
    let is_open = tables
        .workflows
        .values()
        .any(|head| head.id.partition() == lease.partition && !head.status.is_terminal());
    let is_pending = tables.commands.values().any(|row| {
        row.command.workflow.partition() == lease.partition && row.state == CommandState::Pending
    });
    let Some(owned) = held(&mut tables, lease) else {
        return Ok(false);
    };
    if is_open || is_pending || owned.position.published_seq < owned.position.last_seq {
        return Ok(false);
    }
    owned.retired = true;
    owned.epoch += 1;
    owned.lease_until = Timestamp(0);
    Ok(true)
}

pub(super) fn renew(
    store: &MemoryStore,
    leases: &[Lease],
    lease: Duration,
) -> Result<Vec<PartitionId>, StoreError> {
    let until = store.runtime.now().after(lease);
    let mut tables = store.up("renewing leases")?;
    let mut lost = Vec::new();
    for lease in leases {
        match held(&mut tables, lease) {
            Some(owned) => owned.lease_until = until,
            None => lost.push(lease.partition),
        }
    }
    Ok(lost)
}

pub(super) fn release(store: &MemoryStore, leases: &[Lease]) -> Result<(), StoreError> {
    let mut tables = store.up("releasing leases")?;
    for lease in leases {
        if let Some(owned) = held(&mut tables, lease) {
            owned.lease_until = Timestamp(0);
        }
    }
    Ok(())
}

/// The partition, if it is held under this lease's epoch.
fn held<'a>(tables: &'a mut Rows, lease: &Lease) -> Option<&'a mut Owned> {
    let owned = tables.partitions.get_mut(&lease.partition.0)?;
    (owned.epoch == lease.epoch.0 && !owned.retired).then_some(owned)
}
