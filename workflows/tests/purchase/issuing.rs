//! Step `goods-issue`: the same goods every time, worth exactly what was captured.

use engine::definition::Action as _;
use engine::store::{CommitError, SqlDatabase};
use proptest::prelude::*;
use workflows::domain::money::Money;
use workflows::purchase::{Claim, CouponClaim, GoodsIssue, Paid, PurchaseRequest, StockReserve};

use crate::support::{Shop, attempt, done, on_both_databases, request, sale};

fn paid(request: &PurchaseRequest) -> Paid {
    Paid {
        payment: None,
        captured: request.total,
    }
}

async fn goods_are_issued_once_and_everything_held_becomes_theirs(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let request = request("ann", &[("mug", 3), ("cap", 1)], Some("first"));
    let claiming = CouponClaim {
        gate: shop.gate.clone(),
    };
    let (claim, claimed) = done(
        claiming
            .act(&attempt(1, "coupon-claim", 1), request.clone())
            .await,
    );
    let reserving = StockReserve {
        gate: shop.gate.clone(),
    };
    let (_, held) = done(
        reserving
            .act(&attempt(1, "stock-reserve", 1), request.clone())
            .await,
    );
    shop.write(&[claimed, held].concat()).await.expect("held");

    let input = (request.clone(), claim, paid(&request));
    let (goods, rows) = done(
        GoodsIssue
            .act(&attempt(1, "goods-issue", 1), input.clone())
            .await,
    );
    let (again, same_rows) = done(GoodsIssue.act(&attempt(1, "goods-issue", 2), input).await);
    assert_eq!(goods, again);
    shop.write(&rows).await.expect("issued");
    assert!(
        matches!(
            shop.write(&same_rows).await,
            Err(CommitError::RowRefused { .. })
        ),
        "issued twice"
    );

    assert_eq!(
        (shop.stock("mug").await, shop.stock("cap").await),
        ((0, 3), (0, 1))
    );
    assert_eq!(shop.number("SELECT COUNT(*) FROM goods").await, 4);
    assert_eq!(
        shop.number("SELECT CAST(SUM(price) AS SIGNED) FROM goods")
            .await,
        4_950
    );
    assert_eq!(shop.number("SELECT COUNT(*) FROM holds").await, 0);
    assert_eq!(shop.number("SELECT used FROM coupons").await, 1);
}

on_both_databases!(goods_are_issued_once_and_everything_held_becomes_theirs);

#[tokio::test]
async fn each_unit_has_a_serial_number_of_its_own() {
    let request = request("ann", &[("mug", 2), ("cap", 2)], None);
    let input = (request.clone(), Claim { campaign: None }, paid(&request));
    let (mine, _) = done(
        GoodsIssue
            .act(&attempt(1, "goods-issue", 1), input.clone())
            .await,
    );
    let (yours, _) = done(GoodsIssue.act(&attempt(2, "goods-issue", 1), input).await);
    let mut serials: Vec<&str> = mine
        .units
        .iter()
        .chain(&yours.units)
        .map(|unit| unit.serial.as_str())
        .collect();
    assert!(serials[0].starts_with("DROP-MUG-") && serials[2].starts_with("DROP-CAP-"));
    serials.sort_unstable();
    serials.dedup();
    assert_eq!(serials.len(), 8);
}

#[tokio::test]
async fn the_largest_purchase_fits_into_one_output() {
    let mut sale = sale();
    let long = |letter: char, index: usize| format!("{index}{}", letter.to_string().repeat(39));
    sale.sale = workflows::domain::ids::SaleId::parse(long('s', 1)).unwrap();
    let mut template = sale.products[0].clone();
    sale.products = (0..10)
        .map(|index| {
            template.product = crate::support::product(&long('p', index));
            template.clone()
        })
        .collect();
    let names: Vec<String> = sale
        .products
        .iter()
        .map(|product| product.product.to_string())
        .collect();
    // 100 units: the most that a buyer may have of a sale.
    let lines: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 10)).collect();
    let request =
        workflows::purchase::quote(&sale, crate::support::order("ann", &lines, None)).unwrap();
    let input = (request.clone(), Claim { campaign: None }, paid(&request));
    let (goods, _) = done(GoodsIssue.act(&attempt(1, "goods-issue", 1), input).await);
    assert_eq!(goods.units.len(), 100);
    engine::Payload::of(&goods).expect("it fits");
}

proptest! {
    #[test]
    fn goods_are_worth_exactly_what_was_captured(
        mugs in 1_i64..=100, caps in 1_i64..=100,
        mug_price in 0_u64..=1_000_000, cap_price in 0_u64..=1_000_000,
        percent in 1_u8..=100,
    ) {
        let mut sale = sale();
        sale.products[0].unit_price = cap_price;
        sale.products[1].unit_price = mug_price;
        sale.campaigns[0].discount = workflows::domain::coupon::Discount::Percent(percent);
        sale.campaigns[0].minimum_price = 0;
        let order = crate::support::order("ann", &[("mug", mugs), ("cap", caps)], Some("first"));
        let request = workflows::purchase::quote(&sale, order).unwrap();
        let captured: Money = request.total;
        let input = (request, Claim { campaign: None }, Paid { payment: None, captured });
        let issuing = GoodsIssue;
        let attempt = attempt(1, "goods-issue", 1);
        let outcome = futures_util::FutureExt::now_or_never(issuing.act(&attempt, input));
        let (goods, _) = done(outcome.expect("it waits for nobody"));
        prop_assert_eq!(goods.units.iter().map(|unit| unit.price).sum::<u64>(), captured.amount);
        for unit in &goods.units {
            let listed = if unit.product.as_str() == "mug" { mug_price } else { cap_price };
            prop_assert!(unit.price <= listed);
        }
    }
}
