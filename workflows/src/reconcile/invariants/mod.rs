//! The checker of the invariants, one for `demo`, every test and `verify`: it compares the gate, the database, the journal, the
//! topic and the gateway's own ledger, and says how many things it looked at. A check that looked at nothing has failed.
//!
//! It reads and changes nothing, takes no lock, and reads what is long a page at a time, so it may be asked while people buy. What
//! is under way then is counted and named, and is no violation: what looks wrong is looked at again, and only what has ended and
//! is wrong still, or is wrong whatever happens next, is one. With [`Inputs::at_rest`] nothing may be under way.

mod acknowledged;
mod compensations;
mod epochs;
mod journal;
mod log;
mod look_up;
mod money;
mod operators;
mod report;
mod serials;
mod stock;
mod walk;

use std::time::Duration;

use engine::ids::StartKey;
use engine::outbox::BusError;
use engine::outbox::log::PublishedLog;
use engine::store::{SqlDatabase, Store, StoreError};
use engine::{Runtime, Timestamp, WorkflowId};

use crate::ports::catalogue::Catalogue;
use crate::ports::payment_gateway::GatewayError;
use crate::ports::reservations::{ReservationError, Reservations};
use crate::reconcile::reconciler::Reconciler;

pub use money::{GatewayLedger, Ledger, LedgerEntry, LedgerError, LedgerPage};
pub use report::{InvariantReport, VIOLATIONS_LISTED_MAX, Verdict};

/// The pause after each page: who buys meanwhile comes first.
const PAUSE: Duration = Duration::from_millis(1);

/// What is compared.
pub struct Inputs<'a> {
    /// Time.
    pub runtime: &'a Runtime,
    /// The engine's workflows.
    pub store: &'a dyn Store,
    /// The shop's tables and the journal.
    pub database: &'a SqlDatabase,
    /// The sales.
    pub catalogue: &'a dyn Catalogue,
    /// The gate.
    pub reservations: &'a dyn Reservations,
    /// Who looks closer where gate and database differ while people buy; without one, every difference is a violation.
    pub reconciler: Option<&'a Reconciler>,
    /// What the gateway has taken and given back.
    pub ledger: Ledger<'a>,
    /// What was published, where that is kept.
    pub log: Option<&'a dyn PublishedLog>,
    /// Every start that was acknowledged to a client, as far as whoever asks knows it.
    pub acknowledged: &'a [Acknowledged],
    /// How long workflows are kept that have ended.
    pub retention: Option<Duration>,
    /// Nothing may be under way: whatever is, is a violation.
    pub at_rest: bool,
}

impl Inputs<'_> {
    /// What ended then may have been removed since.
    fn may_be_removed(&self, then: Timestamp) -> bool {
        self.retention
            .is_some_and(|retention| self.runtime.now().since(then) >= retention)
    }

    async fn pause(&self) {
        self.runtime.sleep(PAUSE).await;
    }
}

/// A start that a client was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Under which key; absent where the client's is not known.
    pub key: Option<StartKey>,
    /// Which workflow it was told.
    pub workflow: WorkflowId,
}

/// The check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The database failed.
    #[error("the database failed while the invariants were checked")]
    Store(#[from] StoreError),
    /// The reservations failed.
    #[error("the reservations failed while the invariants were checked")]
    Reservations(#[from] ReservationError),
    /// The gateway's ledger could not be read.
    #[error("the payment gateway's ledger could not be read")]
    Ledger(#[from] LedgerError),
    /// The gateway could not be asked about an order.
    #[error("the payment gateway could not be asked about an order")]
    Gateway(#[from] GatewayError),
    /// What was published could not be read.
    #[error("what was published could not be read")]
    Log(#[from] BusError),
}

/// Checks I1 to I10, and reports them in this order.
pub async fn verify(inputs: &Inputs<'_>) -> Result<Vec<InvariantReport>, VerifyError> {
    let (units, coupons) = stock::units_and_coupons(inputs).await?;
    let money = money::captured_is_issued(inputs).await?;
    let rest = journal::all_at_rest(inputs).await?;
    let mut gapless = journal::gapless(inputs).await?;
    let published = log::all_is_published(inputs, &mut gapless).await?;
    let acknowledged = acknowledged::found_again(inputs).await?;
    let mut undone = compensations::in_order_and_once(inputs).await?;
    let mut epochs = epochs::Epochs::begin(inputs).await?;
    let mut operators = operators::Operators::begin();
    let mut walk = walk::Walk::begin(inputs).await?;
    while let Some(page) = walk.next(inputs).await? {
        epochs.see(&page);
        undone.see(inputs, &page).await?;
        operators.see(inputs, &page).await?;
        inputs.pause().await;
    }
    Ok(vec![
        units,
        coupons,
        money,
        rest,
        published.finished(),
        gapless.finished(),
        epochs.finished(inputs).await?,
        acknowledged,
        undone.finished(),
        operators.finished(inputs).await?,
    ])
}
