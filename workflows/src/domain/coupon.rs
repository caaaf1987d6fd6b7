//! What a coupon is worth: an amount or a rate, from a minimum price on.

use engine::Timestamp;
use serde::Serialize;

use super::ids::CampaignId;

/// A coupon campaign of a sale: so many coupons, one a buyer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// Its name in URLs and keys, unique over all sales.
    pub campaign: CampaignId,
    /// Its name for people.
    pub name: String,
    /// Coupons there are.
    pub size: u32,
    /// What a coupon takes off.
    pub discount: Discount,
    /// A purchase below this many minor units gets no discount.
    pub minimum_price: u64,
    /// When its coupons can be used, as far as that is narrower than the sale's own opening hours.
    pub validity: Validity,
    /// From this instant on its coupons can be claimed ahead of the sale, until they can't be used any more; absent when they are
    /// only claimed within a purchase.
    pub claims_from: Option<Timestamp>,
    /// A purchase of a buyer who holds no coupon of it claims one.
    pub claim_in_purchase: bool,
}

/// When a coupon can be used: looked at once, when a purchase takes it, and never after the payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// From this instant on; absent: from the sale's opening.
    pub from: Option<Timestamp>,
    /// Until this instant, which is no longer part of it; absent: until the sale's closing.
    pub until: Option<Timestamp>,
}

/// What a coupon takes off the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Discount {
    /// So many minor units, but never more than the price.
    Amount(u64),
    /// So many hundredths of the price, 1 to 100.
    Percent(u8),
}

impl Discount {
    /// The minor units that it takes off `price`: never more than `price`. A rate is rounded down to a whole minor unit, so a
    /// coupon never takes off more than its rate says.
    #[must_use]
    pub fn off(self, price: u64) -> u64 {
        match self {
            Self::Amount(amount) => amount.min(price),
            Self::Percent(percent) => {
                let off = u128::from(price) * u128::from(percent) / 100;
                u64::try_from(off).map_or(price, |off| off.min(price))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_rounded_down_and_an_amount_stops_at_the_price() {
        assert_eq!(Discount::Percent(10).off(1_999), 199);
        assert_eq!(Discount::Percent(1).off(99), 0);
        assert_eq!(Discount::Percent(100).off(u64::MAX), u64::MAX);
        assert_eq!(Discount::Percent(255).off(100), 100);
        assert_eq!(Discount::Amount(500).off(1_999), 500);
        assert_eq!(Discount::Amount(500).off(400), 400);
    }
}
