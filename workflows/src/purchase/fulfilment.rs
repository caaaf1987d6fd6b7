//! What a paid purchase comes to: goods, or the money back.

use serde::{Deserialize, Serialize};

use crate::domain::goods::GoodsUnit;
use crate::domain::money::Money;
use crate::ports::payment_gateway::PaymentId;

/// The output of `goods-issue`, or of `refund` in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Fulfilment {
    /// The goods are the buyer's.
    Issued {
        /// One entry a unit, in the order of the purchase's lines. Their prices add up to what was captured.
        units: Vec<GoodsUnit>,
    },
    /// The goods can't be given; the money was given back in full.
    Refunded {
        /// The payment; absent when nothing had been paid.
        payment: Option<PaymentId>,
        /// What was given back: all that was captured.
        amount: Money,
        /// Why there are no goods, as a stable word such as `product-recalled`.
        reason: String,
    },
}
