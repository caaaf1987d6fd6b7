//! What was read a moment ago, so that telling a thousand buyers why they are refused costs one query, and not a thousand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::Timestamp;
use workflows::domain::ids::{CampaignId, SaleId};
use workflows::domain::sale::Sale;
use workflows::ports::reservations::SaleCounts;

use crate::problem::Problem;
use crate::wiring::Shared;

/// How old the counters of a sale may be.
const COUNTS_AGE_MAX: Duration = Duration::from_millis(500);
/// How long the counters may take to be read; who waits longer does without.
const COUNTS_PATIENCE: Duration = Duration::from_millis(250);
/// Names remembered of each kind; one more, and all are forgotten and asked for again.
const NAMES_MAX: usize = 10_000;

/// Sales' counters, and which sale each campaign belongs to.
pub struct Recent {
    services: Shared,
    counts: Mutex<HashMap<SaleId, Slot>>,
    owners: Mutex<HashMap<CampaignId, SaleId>>,
}

struct Slot {
    asked_at: Timestamp,
    counts: Option<Arc<SaleCounts>>,
}

impl Recent {
    /// Nothing was read yet.
    pub fn new(services: Shared) -> Self {
        Self {
            services,
            counts: Mutex::default(),
            owners: Mutex::default(),
        }
    }

    /// The counters of a sale, about as old as [`COUNTS_AGE_MAX`]; `None` when they are not known. Of many who ask at once one
    /// looks, and the others get what was known before.
    pub async fn counts(&self, sale: &SaleId) -> Option<Arc<SaleCounts>> {
        let now = self.services.runtime.now();
        {
            let mut slots = locked(&self.counts);
            if let Some(slot) = slots.get_mut(sale) {
                if now >= slot.asked_at && now.since(slot.asked_at) < COUNTS_AGE_MAX {
                    return slot.counts.clone();
                }
                slot.asked_at = now;
            } else {
                make_room(&mut slots);
                let counts = None;
                slots.insert(
                    sale.clone(),
                    Slot {
                        asked_at: now,
                        counts,
                    },
                );
            }
        }
        let read = self.services.reservations.counts(sale);
        let read = self.services.runtime.within(COUNTS_PATIENCE, read).await;
        let counts = read.and_then(Result::ok).flatten().map(Arc::new);
        if let Some(slot) = locked(&self.counts).get_mut(sale) {
            slot.counts.clone_from(&counts);
        }
        counts
    }

    /// The sale that a campaign belongs to, as the sale was at most a second ago.
    pub async fn sale_of(&self, campaign: &CampaignId) -> Result<Option<Arc<Sale>>, Problem> {
        let known = locked(&self.owners).get(campaign).cloned();
        let owner = match known {
            Some(owner) => owner,
            None => match self.services.catalogue.sale_of(campaign).await? {
                Some(owner) => {
                    let mut owners = locked(&self.owners);
                    make_room(&mut owners);
                    owners.insert(campaign.clone(), owner.clone());
                    owner
                }
                None => return Ok(None),
            },
        };
        self.services.sale(&owner).await
    }
}

fn make_room<K, V>(names: &mut HashMap<K, V>) {
    if names.len() >= NAMES_MAX {
        names.clear();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
