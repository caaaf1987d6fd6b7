//! What those need who look after a store.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::{MemoryStore, Rows, audit};
use crate::ids::{Epoch, Ident, NodeName, PartitionId};
use crate::runtime::Timestamp;
use crate::store::{
    ErrorGroup, Head, OpenCursor, OpenRow, PartitionRow, Purged, StoreError, UpkeepStore,
};
use crate::workflow::{DefinitionRef, Record};

/// So many workflows are removed at once at most.
const IDENTS_MAX: usize = 500;

#[async_trait]
impl UpkeepStore for MemoryStore {
    async fn register_definitions(
        &self,
        definitions: &[DefinitionRef],
    ) -> Result<Vec<DefinitionRef>, StoreError> {
        let mut tables = self.up("registering definitions")?;
        let mut differing = Vec::new();
        for definition in definitions {
            let key = (definition.name.clone(), definition.version);
            let known = tables.definitions.entry(key);
            let known = known.or_insert_with(|| definition.clone());
            if known.hash != definition.hash {
                differing.push(known.clone());
            }
        }
        Ok(differing)
    }

    async fn partitions(&self) -> Result<Vec<PartitionRow>, StoreError> {
        let now = self.runtime.now();
        let tables = self.up("reading the partitions")?;
        let rows = tables.partitions.iter().map(|(id, owned)| PartitionRow {
            id: PartitionId(*id),
            owner: NodeName(owned.owner.clone()),
            epoch: Epoch(owned.epoch),
            lease_left_us: owned.lease_until.0 - now.0,
            retired: owned.retired,
            last_seq: owned.position.last_seq,
            published_seq: owned.position.published_seq,
        });
        Ok(rows.collect())
    }

    async fn error_groups(&self, limit: u16) -> Result<Vec<ErrorGroup>, StoreError> {
        let tables = self.up("reading error groups")?;
        let mut groups: BTreeMap<_, ErrorGroup> = BTreeMap::new();
        for row in tables.parked.values() {
            let key = (&row.class, &row.definition, &row.step, &row.message);
            let group = groups.entry(key).or_insert_with(|| ErrorGroup {
                definition: row.definition.clone(),
                step: row.step.clone(),
                class: row.class.clone(),
                message: row.message.clone(),
                count: 0,
                first_since: row.since,
                last_since: row.since,
            });
            group.count += 1;
            group.first_since = group.first_since.min(row.since);
            group.last_since = group.last_since.max(row.since);
        }
        let mut groups: Vec<ErrorGroup> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups.truncate(usize::from(limit));
        Ok(groups)
    }

    async fn purgeable(
        &self,
        before: Timestamp,
        limit: u16,
    ) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
        const DOING: &str = "reading what is old";
        let tables = self.up(DOING)?;
        let old = tables.workflows.values().filter(|head| {
            head.created_at < before && head.updated_at < before && has_ended(&tables, head)
        });
        let mut old: Vec<&Head> = old.collect();
        old.sort_by_key(|head| (head.created_at, head.id.ident()));
        old.truncate(usize::from(limit));
        tables.with_records(old, DOING)
    }

    async fn purge(&self, idents: &[Ident]) -> Result<Purged, StoreError> {
        const DOING: &str = "removing what is old";
        let mut tables = self.up(DOING)?;
        if idents.len() > IDENTS_MAX {
            return Err(StoreError::Corrupt {
                doing: DOING,
                cause: format!("{} workflows at once: at most {IDENTS_MAX}", idents.len()),
            });
        }
        let mut purged = Purged::default();
        for ident in idents.iter().collect::<BTreeSet<_>>() {
            let head = tables.workflows.get(ident);
            let Some(head) = head.filter(|head| has_ended(&tables, head)) else {
                continue;
            };
            let id = head.id;
            tables.workflows.remove(ident);
            tables.commands.retain(|_, row| row.command.workflow != id);
            purged.workflows += 1;
            let Some(owned) = tables.partitions.get_mut(&id.partition().0) else {
                continue;
            };
            for number in owned.by_workflow.remove(&id).unwrap_or_default().values() {
                owned.events.remove(number);
                purged.events += 1;
            }
        }
        Ok(purged)
    }

    async fn open_everywhere(
        &self,
        after: Option<OpenCursor>,
        limit: u32,
    ) -> Result<Vec<(PartitionId, OpenRow)>, StoreError> {
        audit::open_everywhere(self, after.as_ref(), limit)
    }

    async fn reopen(&self, partition: PartitionId) -> Result<bool, StoreError> {
        audit::reopen(self, partition)
    }
}

/// It is terminal, and the bus has all its events.
fn has_ended(tables: &Rows, head: &Head) -> bool {
    let owned = tables.partitions.get(&head.id.partition().0);
    let last = owned
        .and_then(|owned| owned.by_workflow.get(&head.id))
        .and_then(|numbers| numbers.values().max());
    let published = owned.map_or(0, |owned| owned.position.published_seq);
    head.status.is_terminal() && last.is_none_or(|last| *last <= published)
}
