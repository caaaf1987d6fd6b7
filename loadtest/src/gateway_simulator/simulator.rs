//! What every request shares: the ledger, the rules, the clock, and how long to wait.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};

use super::ledger::Ledger;
use super::refusal::Refusal;
use super::rules::{BadRules, Fault, Rules};
use super::server::Clock;
use super::wire::ApproveBody;

const IN_FLIGHT_MAX: usize = 4_096;
/// Orders whose transient faults are counted; those beyond show none.
const FAULTY_ORDERS_MAX: usize = 100_000;

/// What every request shares.
pub(super) struct Simulator {
    pub ledger: Ledger,
    rules: RwLock<Rules>,
    clock: Clock,
    /// Turns true, or loses its sender, when the simulator stops.
    closing: watch::Receiver<bool>,
    faulty: Mutex<HashMap<String, u32>>,
    pub in_flight: Semaphore,
}

impl Simulator {
    pub fn new(ledger: Ledger, rules: Rules, clock: Clock, closing: watch::Receiver<bool>) -> Self {
        let (rules, faulty, in_flight) = (
            RwLock::new(rules),
            Mutex::new(HashMap::new()),
            Semaphore::new(IN_FLIGHT_MAX),
        );
        Self {
            ledger,
            rules,
            clock,
            closing,
            faulty,
            in_flight,
        }
    }

    pub fn rules(&self) -> Rules {
        *self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows these from the next request on.
    pub fn set_rules(&self, rules: Rules) -> Result<(), BadRules> {
        rules.check()?;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        Ok(())
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_microsecond((self.clock)()).unwrap_or_default()
    }

    /// The fault that this attempt shows; a transient one is used up by showing.
    pub fn fault(&self, rules: &Rules, request: &ApproveBody) -> Option<Fault> {
        let fault = Fault::of_token(&request.payment_token)?;
        if !fault.is_transient() {
            return Some(fault);
        }
        let mut faulty = self.faulty.lock().unwrap_or_else(PoisonError::into_inner);
        if faulty.len() >= FAULTY_ORDERS_MAX && !faulty.contains_key(&request.order_id) {
            return None;
        }
        let shown = faulty.entry(request.order_id.clone()).or_default();
        *shown = shown.saturating_add(1);
        (*shown <= rules.faulty_attempts).then_some(fault)
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
