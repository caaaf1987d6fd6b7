//! A bus that fails before, after or in the middle of what it takes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::outbox::{BusError, EventBus, Refused};
use engine::store::StoredEvent;

use super::super::dice::Dice;

/// A bus that fails as often as it is told to, before or after it has taken some of the events.
#[derive(Clone)]
pub struct FlakyBus {
    dice: Dice,
    inner: Arc<Mutex<BusInner>>,
}

struct BusInner {
    fails_per_mille: u64,
    taken: Vec<StoredEvent>,
    acknowledged: usize,
}

impl FlakyBus {
    pub fn new(dice: &Dice, fails_per_mille: u64) -> Self {
        let inner = BusInner {
            fails_per_mille,
            taken: Vec::new(),
            acknowledged: 0,
        };
        Self {
            dice: dice.clone(),
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// From now on so many publications in a thousand fail.
    pub fn set_fails(&self, per_mille: u64) {
        self.inner.lock().unwrap().fails_per_mille = per_mille;
    }

    /// How many events were published to the end, repeats included.
    pub fn acknowledged(&self) -> usize {
        self.inner.lock().unwrap().acknowledged
    }

    /// Everything that the bus has taken, in order, with repeats.
    pub fn taken(&self) -> Vec<StoredEvent> {
        self.inner.lock().unwrap().taken.clone()
    }
}

#[async_trait]
impl EventBus for FlakyBus {
    async fn publish<'events>(
        &self,
        events: &'events [StoredEvent],
    ) -> Result<Vec<Refused<'events>>, BusError> {
        tokio::time::sleep(Duration::from_millis(self.dice.roll("bus time", 4))).await;
        let fails = self
            .dice
            .chance("bus", self.inner.lock().unwrap().fails_per_mille);
        let taken = if fails {
            self.dice.roll("bus taken", events.len() as u64 + 1)
        } else {
            events.len() as u64
        };
        let mut inner = self.inner.lock().unwrap();
        inner.taken.extend(
            events
                .iter()
                .take(usize::try_from(taken).unwrap_or(usize::MAX))
                .cloned(),
        );
        if !fails {
            inner.acknowledged += events.len();
        }
        if fails {
            return Err(BusError::Unacknowledged("set by the test".into()));
        }
        Ok(Vec::new())
    }
}
