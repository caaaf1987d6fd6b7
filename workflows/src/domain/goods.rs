//! Issued goods: a serial number and a share of the price for each unit of a purchase, both computed from the purchase
//! alone, so that issuing again gives the same goods.

use engine::WorkflowId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ids::{ProductId, SaleId};

/// One unit that a buyer has paid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoodsUnit {
    /// Unique in the store.
    pub serial: String,
    /// The purchase's line, from 0.
    pub line: u32,
    /// What it is.
    pub product: ProductId,
    /// Minor units: this unit's share of what was paid.
    pub price: u64,
}

/// The serial number of unit `unit` (from 0) of line `line` (from 0): `<SALE>-<PRODUCT>-<16 hex>`, where the last part is a
/// hash of the purchase, the line and the unit.
#[must_use]
pub fn serial(
    workflow: WorkflowId,
    sale: &SaleId,
    product: &ProductId,
    line: u32,
    unit: u32,
) -> String {
    let mut hash = Sha256::new();
    hash.update(workflow.bytes());
    hash.update(line.to_be_bytes());
    hash.update(unit.to_be_bytes());
    let digest = hash.finalize();
    let mut number = [0; 8];
    number.copy_from_slice(&digest[..8]);
    let number = u64::from_be_bytes(number);
    let (sale, product) = (
        sale.as_str().to_ascii_uppercase(),
        product.as_str().to_ascii_uppercase(),
    );
    format!("{sale}-{product}-{number:016X}")
}

/// Spreads `total` over units in proportion to their list prices, such that the shares add up to `total` exactly.
///
/// Unit k gets the rounded-down share of the first k units together less what the units before it got: no share is further
/// than one minor unit from the exact proportion, and none is above the unit's list price (given `total` is not above the
/// sum of the prices). When every list price is zero, so is every share. The prices must add up to less than 2^64.
pub fn shares(
    total: u64,
    list_prices: impl Iterator<Item = u64> + Clone,
) -> impl Iterator<Item = u64> {
    let whole: u128 = list_prices.clone().map(u128::from).sum();
    let (mut listed, mut given) = (0_u128, 0_u64);
    list_prices.map(move |price| {
        listed += u128::from(price);
        let upto = (u128::from(total) * listed).checked_div(whole).unwrap_or(0);
        let upto = u64::try_from(upto).unwrap_or(total);
        let share = upto - given;
        given = upto;
        share
    })
}

#[cfg(test)]
mod tests {
    use engine::PartitionId;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_serial_number_says_what_it_is_and_is_the_same_every_time() {
        let workflow = WorkflowId::new(PartitionId(3), [7; 12]);
        let (sale, product) = (
            SaleId::parse("drop-1").unwrap(),
            ProductId::parse("mug").unwrap(),
        );
        let of = |line, unit| serial(workflow, &sale, &product, line, unit);
        assert!(of(0, 0).starts_with("DROP-1-MUG-"));
        assert_eq!(of(0, 0).len(), "DROP-1-MUG-".len() + 16);
        assert_eq!(of(1, 2), of(1, 2));
        assert_ne!(of(0, 1), of(1, 0));
    }

    proptest! {
        #[test]
        fn shares_add_up_to_the_total_and_none_is_above_its_price(
            prices in prop::collection::vec(0_u64..=1_000_000_000_000, 1..200),
            taken in 0_u64..=100,
        ) {
            let listed: u64 = prices.iter().sum();
            let total = listed - listed / 100 * taken;
            let shares: Vec<u64> = shares(total, prices.iter().copied()).collect();
            prop_assert_eq!(shares.iter().sum::<u64>(), total);
            for (share, price) in shares.iter().zip(&prices) {
                prop_assert!(share <= price);
                let exact = u128::from(total) * u128::from(*price) / u128::from(listed.max(1));
                prop_assert!(u128::from(*share).abs_diff(exact) <= 1);
            }
        }
    }
}
