//! What lies in a partition that nobody will take over, because it is retired or not known: an open workflow, which is an orphan,
//! or a command that came at the very moment in which its partition was retired. The partition is made one that can be taken over,
//! and whoever takes it goes on with the workflow, or answers the command.

use std::collections::{HashMap, HashSet};

use super::{LOAD_AT_ONCE, PAGE, Pass, Rounds, SECOND_LOOK, SUSPECTS_MAX};
use crate::audit::{Orphan, OrphanKind};
use crate::ids::{Ident, PartitionId, WorkflowId};
use crate::node::Node;
use crate::planted;
use crate::store::StoreError;

/// Pages of the open workflows of all partitions that are looked at in a pass.
const PAGES: usize = 10;
/// Retired partitions whose inbox is looked into in a pass, going round.
const INBOXES: usize = 100;

impl Node {
    /// Looks at a part of all open workflows for those whose partition nobody will take over.
    pub(super) async fn find_strays(
        &self,
        rounds: &mut Rounds,
        pass: &mut Pass,
    ) -> Result<(), StoreError> {
        let mut found: Vec<(PartitionId, Ident)> = Vec::new();
        for _page in 0..PAGES {
            let after = rounds.strays_after.take();
            let page = self.store.open_everywhere(after, PAGE).await?;
            rounds.strays_after = page.last().map(|(_, row)| row.cursor.clone());
            if page.is_empty() {
                break;
            }
            found.extend(
                page.into_iter()
                    .map(|(partition, row)| (partition, row.ident)),
            );
        }
        let suspects = self.strays(found).await?;
        if suspects.is_empty() {
            return Ok(());
        }
        self.runtime.sleep(SECOND_LOOK).await;
        let idents: Vec<Ident> = suspects.iter().map(|(_, ident)| *ident).collect();
        let mut open = Vec::new();
        for idents in idents.chunks(LOAD_AT_ONCE) {
            let loaded = self.store.load(idents).await?;
            let heads = loaded.into_iter().map(|(head, _)| head);
            let heads = heads.filter(|head| !head.status.is_terminal());
            open.extend(heads.map(|head| (head.id.partition(), head.id.ident())));
        }
        let mut healed: HashMap<PartitionId, bool> = HashMap::new();
        for (partition, ident) in self.strays(open).await? {
            let reopened = match healed.get(&partition) {
                Some(reopened) => *reopened,
                None => self.store.reopen(partition).await?,
            };
            healed.insert(partition, reopened);
            pass.orphans.push(Orphan {
                id: WorkflowId::new(partition, ident),
                kind: OrphanKind::UnownedPartition,
                healed: reopened,
            });
        }
        Ok(())
    }

    /// Those of them whose partition is retired or not known.
    async fn strays(
        &self,
        found: Vec<(PartitionId, Ident)>,
    ) -> Result<Vec<(PartitionId, Ident)>, StoreError> {
        if found.is_empty() {
            return Ok(found);
        }
        let rows = self.store.partitions().await?;
        let in_use = rows.iter().filter(|row| !row.retired).map(|row| row.id);
        let in_use: HashSet<PartitionId> = in_use.collect();
        let strays = found.into_iter().filter(|(id, _)| !in_use.contains(id));
        Ok(strays.take(SUSPECTS_MAX).collect())
    }

    /// Looks into the inboxes of some retired partitions for commands that nobody would ever answer.
    pub(super) async fn find_unanswered(&self, rounds: &mut Rounds) -> Result<(), StoreError> {
        let rows = self.store.partitions().await?;
        let retired = rows.iter().filter(|row| row.retired).map(|row| row.id);
        let after = rounds.retired_up_to.take();
        let next = retired.filter(|id| after.is_none_or(|after| *id > after));
        let next: Vec<PartitionId> = next.take(INBOXES).collect();
        rounds.retired_up_to = next.last().copied().filter(|_| next.len() == INBOXES);
        for partition in next {
            let pending = self.store.pending_commands(partition, None, 1).await?;
            if pending.is_empty() || planted::is_on("command-to-retired-left") {
                continue;
            }
            // If somebody has taken it meanwhile, it is in use already.
            let reopened = self.store.reopen(partition).await?;
            tracing::warn!(partition.id = %partition, reopened, "a command came while its partition was being retired");
        }
        Ok(())
    }
}
