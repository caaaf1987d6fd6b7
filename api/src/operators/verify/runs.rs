//! Checks of the invariants, one at a time, and what the last one saw.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::{Runtime, Timestamp};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use workflows::adapters::gateway_ledger::HttpLedger;
use workflows::reconcile::invariants::{
    Inputs, InvariantReport, Ledger, Verdict, VerifyError, verify,
};

use super::Shown;
use crate::clock::rfc3339;
use crate::exit::with_causes;
use crate::wiring::Shared;

/// Checks that run or wait at the same time.
const CHECKS_MAX: usize = 4;

/// A check that has ended.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Counted on this node, from 1.
    number: u64,
    started_at: String,
    finished_at: String,
    took_ms: u64,
    /// Nothing was to be under way.
    at_rest: bool,
    /// Nothing that was checked is violated.
    holds: bool,
    /// Things that were under way, over all invariants.
    in_flight: u64,
    invariants: Vec<InvariantReport>,
}

/// A check that came to no result.
#[derive(Debug, Serialize)]
pub struct Failed {
    number: u64,
    finished_at: String,
    /// What could not be reached.
    pub why: String,
}

/// How a check ends.
pub type Ended = Result<Arc<Checked>, Arc<Failed>>;

/// Makes checks. Cheap to clone.
#[derive(Clone, Default)]
pub struct Verifier(Arc<Inner>);

#[derive(Default)]
struct Inner {
    turn: tokio::sync::Mutex<()>,
    standing: Mutex<Standing>,
}

#[derive(Default)]
struct Standing {
    begun: u64,
    running: BTreeSet<u64>,
    last: Option<Arc<Checked>>,
    failed: Option<Arc<Failed>>,
}

impl Verifier {
    /// What is known of the last checks.
    pub fn shown(&self) -> Shown {
        let standing = self.standing();
        Shown {
            last: standing.last.clone(),
            failed: standing.failed.clone(),
            running: standing.running.iter().copied().collect(),
        }
    }

    /// Begins a check after those that wait: its number, and its end. It goes on when nobody waits for it. `None`: too many wait.
    pub fn begin(
        &self,
        services: Shared,
        at_rest: bool,
    ) -> Option<(u64, oneshot::Receiver<Ended>)> {
        let number = {
            let mut standing = self.standing();
            if standing.running.len() >= CHECKS_MAX {
                return None;
            }
            standing.begun += 1;
            let number = standing.begun;
            standing.running.insert(number);
            number
        };
        let (sender, ended) = oneshot::channel();
        let verifier = self.clone();
        services.runtime.clone().spawn(async move {
            let runtime = services.runtime.clone();
            let turn = verifier.0.turn.lock().await;
            let started_at = runtime.now();
            let result = check(services, at_rest).await;
            let result = verifier.ended(&runtime, number, (started_at, at_rest), result);
            drop(turn);
            let _nobody_waits = sender.send(result);
        });
        Some((number, ended))
    }

    fn ended(
        &self,
        runtime: &Runtime,
        number: u64,
        (started_at, at_rest): (Timestamp, bool),
        result: Result<Vec<InvariantReport>, String>,
    ) -> Ended {
        let now = runtime.now();
        let finished_at = rfc3339(now);
        let mut standing = self.standing();
        standing.running.remove(&number);
        match result {
            Ok(invariants) => {
                let is_violated = |report: &InvariantReport| report.verdict() == Verdict::Violated;
                let checked = Arc::new(Checked {
                    number,
                    started_at: rfc3339(started_at),
                    finished_at,
                    took_ms: u64::try_from(now.since(started_at).as_millis()).unwrap_or(u64::MAX),
                    at_rest,
                    holds: !invariants.iter().any(is_violated),
                    in_flight: invariants.iter().map(|report| report.in_flight).sum(),
                    invariants,
                });
                standing.last = Some(Arc::clone(&checked));
                Ok(checked)
            }
            Err(why) => {
                tracing::warn!(error = %why, "the invariants could not be checked");
                let failed = Arc::new(Failed {
                    number,
                    finished_at,
                    why,
                });
                standing.failed = Some(Arc::clone(&failed));
                Err(failed)
            }
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0
            .standing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// On a thread of its own: it goes through everything that is stored, and whoever buys meanwhile should not wait for it.
async fn check(services: Shared, at_rest: bool) -> Result<Vec<InvariantReport>, String> {
    let here = Handle::current();
    let checked = spawn_blocking(move || here.block_on(compare(&services, at_rest)));
    match checked.await {
        Ok(Ok(invariants)) => Ok(invariants),
        Ok(Err(error)) => Err(with_causes(&error)),
        Err(panicked) => Err(with_causes(&panicked)),
    }
}

async fn compare(services: &Shared, at_rest: bool) -> Result<Vec<InvariantReport>, VerifyError> {
    let ledger = HttpLedger::at(&services.gateway_url)?;
    let inputs = Inputs {
        runtime: &services.runtime,
        store: services.store.as_ref(),
        database: &services.database,
        catalogue: services.catalogue.as_ref(),
        reservations: services.reservations.as_ref(),
        reconciler: Some(&services.reconciler),
        ledger: Ledger::Gateway(&ledger, services.gateway.as_ref()),
        log: services.published.as_deref(),
        acknowledged: &[],
        retention: services.engine.retention(),
        at_rest,
    };
    verify(&inputs).await
}
