//! Step `goods-issue`: the same goods every time, worth exactly what was captured; none of what was recalled, and none without a
//! serial number.

use std::sync::Arc;

use engine::definition::{Action as _, Outcome};
use engine::store::{CommitError, SqlDatabase};
use proptest::prelude::*;
use workflows::domain::goods::GoodsUnit;
use workflows::domain::money::Money;
use workflows::domain::sale::Sale;
use workflows::purchase::{
    Claim, CouponClaim, Fulfilment, GoodsIssue, Paid, PurchaseRequest, StockReserve,
};

use crate::support::{
    Shop, StillCatalogue, StillSerials, attempt, done, on_both_databases, refused, request, sale,
};

fn paid(request: &PurchaseRequest) -> Paid {
    Paid {
        payment: None,
        captured: request.total,
    }
}

fn no_claim() -> Claim {
    Claim {
        campaign: None,
        was_claimed_ahead: false,
    }
}

/// The step over a catalogue of this sale, and over empty pools.
fn step(sale: Sale) -> GoodsIssue {
    GoodsIssue {
        catalogue: Arc::new(StillCatalogue::new(sale)),
        serials: Arc::new(StillSerials::default()),
    }
}

#[track_caller]
fn units(fulfilment: Fulfilment) -> Vec<GoodsUnit> {
    match fulfilment {
        Fulfilment::Issued { units } => units,
        Fulfilment::Refunded { reason, .. } => panic!("no goods: {reason}"),
    }
}

async fn issue(step: &GoodsIssue, purchase: u8, request: &PurchaseRequest) -> Outcome<Fulfilment> {
    let input = (request.clone(), no_claim(), paid(request));
    step.act(&attempt(purchase, "goods-issue", 1), input).await
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
    let step = step(sale());
    let [once, twice] = [1, 2].map(|number| attempt(1, "goods-issue", number));
    let (goods, rows) = done(step.act(&once, input.clone()).await);
    let (again, same_rows) = done(step.act(&twice, input).await);
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
    assert_eq!(shop.number("SELECT state FROM coupons").await, 2);
}

on_both_databases!(goods_are_issued_once_and_everything_held_becomes_theirs);

#[tokio::test]
async fn each_unit_has_a_serial_number_of_its_own() {
    let request = request("ann", &[("mug", 2), ("cap", 2)], None);
    let step = step(sale());
    let mine = units(done(issue(&step, 1, &request).await).0);
    let yours = units(done(issue(&step, 2, &request).await).0);
    let mut serials: Vec<&str> = mine
        .iter()
        .chain(&yours)
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
    let (goods, _) = done(issue(&step(sale), 1, &request).await);
    engine::Payload::of(&goods).expect("it fits");
    assert_eq!(units(goods).len(), 100);
}

#[tokio::test]
async fn a_recalled_product_is_not_issued_and_takes_the_whole_purchase_with_it() {
    let request = request("ann", &[("mug", 1), ("cap", 1)], None);
    let catalogue = Arc::new(StillCatalogue::new(sale()));
    let step = GoodsIssue {
        catalogue: Arc::clone(&catalogue) as _,
        serials: Arc::new(StillSerials::default()),
    };
    done(issue(&step, 1, &request).await);
    catalogue.recall("cap");
    let refusal = refused(issue(&step, 2, &request).await);
    assert_eq!(
        refusal.to_string(),
        "product-recalled: Product cap was recalled."
    );
}

#[tokio::test]
async fn serial_numbers_come_from_the_pool_the_same_ones_every_time_or_not_at_all() {
    let request = request("ann", &[("cap", 1), ("mug", 2)], None);
    let (catalogue, serials) = (
        Arc::new(StillCatalogue::new(sale())),
        Arc::new(StillSerials::default()),
    );
    catalogue.pool("mug");
    serials.put("mug", 5);
    let step = GoodsIssue {
        catalogue,
        serials: Arc::clone(&serials) as _,
    };
    let first = units(done(issue(&step, 1, &request).await).0);
    let found: Vec<&str> = first[1..].iter().map(|unit| unit.serial.as_str()).collect();
    assert_eq!(found, ["mug-0000", "mug-0001"]);
    assert!(first[0].serial.starts_with("DROP-CAP-"));
    assert_eq!(units(done(issue(&step, 1, &request).await).0), first);
    assert_eq!(serials.taken(), 2);
    done(issue(&step, 2, &request).await);
    let refusal = refused(issue(&step, 3, &request).await);
    assert_eq!(refusal.code, "serials-exhausted");
    assert_eq!(serials.taken(), 4);
}

#[tokio::test]
async fn a_catalogue_that_is_away_is_asked_again() {
    let mut elsewhere = sale();
    elsewhere.sale = workflows::domain::ids::SaleId::parse("elsewhere").unwrap();
    let outcome = issue(&step(elsewhere), 1, &request("ann", &[("mug", 1)], None)).await;
    assert_eq!(crate::support::retried(outcome).class, "sale-missing");
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
        let outcome = futures_util::FutureExt::now_or_never(issue(&step(sale), 1, &request));
        let goods = units(done(outcome.expect("it waits for nobody")).0);
        prop_assert_eq!(goods.iter().map(|unit| unit.price).sum::<u64>(), captured.amount);
        for unit in &goods {
            let listed = if unit.product.as_str() == "mug" { mug_price } else { cap_price };
            prop_assert!(unit.price <= listed);
        }
    }
}
