//! The saga of a coupon that is claimed ahead of the sale: one step, so that it is durable, counted once, and found again under
//! the key that the buyer sent.

use engine::Timestamp;
use engine::definition::{Definition, DefinitionError, Saga};
use serde::{Deserialize, Serialize};

use crate::domain::ids::{BuyerId, CampaignId, SaleId};
use crate::purchase::Gate;

mod coupon_issue;

pub use coupon_issue::{CouponIssue, Issued, issue_operation};

/// The saga's name, by which it is started.
pub const NAME: &str = "coupon-claim";

/// What it is started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimAhead {
    /// Who gets the coupon.
    pub buyer: BuyerId,
    /// For which sale.
    pub sale: SaleId,
    /// Of which campaign of that sale.
    pub campaign: CampaignId,
    /// When the request was accepted.
    pub accepted_at: Timestamp,
}

/// The saga over this gate.
pub fn definition(gate: &Gate) -> Result<Definition, DefinitionError> {
    let mut saga = Saga::<ClaimAhead>::new(NAME, 1);
    let request = saga.input();
    let issue = CouponIssue { gate: gate.clone() };
    let issued = saga.compensable(issue, &request);
    saga.finish(&issued)
}
