//! What every request shares: the ledger, the desk, the rules, the webhooks, the clock, and how long to wait.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};

use super::book::Book;
use super::desk::Desk;
use super::faults::Faults;
use super::ledger::Ledger;
use super::marks::Marks;
use super::refusal::Refusal;
use super::rules::{BadRules, Rules};
use super::server::Clock;
use super::webhooks::{Event, Webhooks};

const IN_FLIGHT_MAX: usize = 4_096;

/// What every request shares.
pub(super) struct Simulator {
    pub ledger: Ledger<Book>,
    pub desk: Ledger<Desk>,
    pub webhooks: Webhooks,
    /// What the addresses of payment pages begin with; empty until it is known.
    pub public_url: RwLock<String>,
    rules: RwLock<Arc<Rules>>,
    clock: Clock,
    /// Turns true, or loses its sender, when the simulator stops.
    closing: watch::Receiver<bool>,
    pub marks: Marks,
    pub in_flight: Semaphore,
}

impl Simulator {
    pub fn new(
        ledger: Ledger<Book>,
        desk: Ledger<Desk>,
        webhooks: Webhooks,
        rules: Rules,
        clock: Clock,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self {
            ledger,
            desk,
            webhooks,
            public_url: RwLock::default(),
            rules: RwLock::new(Arc::new(rules)),
            clock,
            closing,
            marks: Marks::default(),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
        }
    }

    /// Writes what waits, and lets go of the files. Blocks.
    pub fn close(&self) {
        self.ledger.close();
        self.desk.close();
    }

    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows these from the next request on.
    pub fn set_rules(&self, rules: Rules) -> Result<(), BadRules> {
        rules.check()?;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.marks.begin_turns();
        Ok(())
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_microsecond((self.clock)()).unwrap_or_default()
    }

    /// Tells the shop, wherever it wants to be told of this order.
    pub async fn tell(&self, event: &Event, faults: Faults, rules: &Rules) {
        let pending = self.desk.read(|desk| desk.webhook_url_of(&event.order_id));
        let own_url = self.desk.settle(pending).await.ok().flatten();
        let followed = self.webhooks.send(event, own_url, faults, rules).await;
        self.marks.shows(&event.order_id, followed);
    }

    /// Lets time pass, unless the simulator stops first: then whoever waits learns nothing certain.
    pub async fn wait(&self, time: Duration) -> Result<(), Refusal> {
        if time.is_zero() {
            return Ok(());
        }
        let mut closing = self.closing.clone();
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            _ = closing.wait_for(|closing| *closing) => Err(Refusal::broken("closing", "the gateway is stopping")),
        }
    }
}
