//! The checker of the invariants, one for `demo`, every test and `verify`: it compares the gate, the database, the journal
//! and the gateway's own ledger, and says how many things it looked at. A check that looked at nothing has failed.
//!
//! The comparisons hold when nothing is in flight: check when every workflow has ended or is parked.

mod acknowledged;
mod journal;
mod money;
mod report;
mod stock;

use engine::WorkflowId;
use engine::ids::StartKey;
use engine::store::{SqlDatabase, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::ports::catalogue::Catalogue;
use crate::ports::reservations::{ReservationError, Reservations};

pub use report::{InvariantReport, VIOLATIONS_LISTED_MAX};

/// What is compared.
pub struct Inputs<'a> {
    /// The engine's workflows.
    pub store: &'a dyn Store,
    /// The shop's tables and the journal.
    pub database: &'a SqlDatabase,
    /// The sales.
    pub catalogue: &'a dyn Catalogue,
    /// The gate.
    pub reservations: &'a dyn Reservations,
    /// The gateway's ledger, one entry an order.
    pub ledger: &'a [LedgerEntry],
    /// Every start that was acknowledged to a client.
    pub acknowledged: &'a [Acknowledged],
}

/// What the gateway has taken for an order, and given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The order: a workflow's id.
    pub order: String,
    /// Minor units.
    pub captured: u64,
    /// Minor units.
    pub refunded: u64,
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
}

/// Checks I1, I2, I3, I4, I6 and I8, in this order.
pub async fn verify(inputs: &Inputs<'_>) -> Result<Vec<InvariantReport>, VerifyError> {
    Ok(vec![
        stock::units(inputs).await?,
        stock::coupons(inputs).await?,
        money::captured_is_issued(inputs).await?,
        journal::all_at_rest(inputs).await?,
        journal::gapless(inputs).await?,
        acknowledged::found_again(inputs).await?,
    ])
}
