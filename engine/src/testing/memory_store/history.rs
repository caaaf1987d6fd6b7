//! What was written, batch by batch, and the store as it was after any of them.

use std::sync::{Arc, Mutex};

use super::{MemoryStore, Owned, Rows};
use crate::store::Change;

impl MemoryStore {
    /// How many batches were committed.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.lock().history.len()
    }

    /// The changes that were written, in commit order.
    #[must_use]
    pub fn written(&self) -> Vec<Change> {
        let tables = self.lock();
        let written = tables.history.iter().flat_map(|(_, batch)| &batch.changes);
        written.cloned().collect()
    }

    /// The store as it was once its first `batches` batches were committed, with the owners that its partitions have now and
    /// with no command: what a crash right after that commit would have left.
    #[must_use]
    pub fn cut(&self, batches: usize) -> Self {
        let tables = self.lock();
        let mut earlier = Rows::default();
        for (id, owned) in &tables.partitions {
            let untouched = Owned {
                owner: owned.owner.clone(),
                epoch: owned.epoch,
                lease_until: owned.lease_until,
                retired: owned.retired,
                ..Owned::default()
            };
            earlier.partitions.insert(*id, untouched);
        }
        for (partition, batch) in tables.history.iter().take(batches) {
            earlier.write(*partition, batch);
        }
        earlier.refusing.clone_from(&tables.refusing);
        Self {
            runtime: self.runtime.clone(),
            tables: Arc::new(Mutex::new(earlier)),
        }
    }
}
