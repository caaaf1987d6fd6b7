//! What a purchase costs, and which requests have no price.

use workflows::domain::address::AddressForm;
use workflows::domain::sale::AMOUNT_MAX;
use workflows::domain::sale::Sale;
use workflows::purchase::{LINES_MAX, OrderLine, QuoteError, quote};

use crate::support::{order, product, sale};

fn error(sale: &Sale, lines: &[(&str, i64)], campaign: Option<&str>) -> (String, &'static str) {
    let error = quote(sale, order("ann", lines, campaign)).expect_err("no price");
    (error.field(), error.code())
}

#[test]
fn the_total_is_the_lines_at_the_sales_prices_less_the_coupon() {
    let quoted = quote(
        &sale(),
        order("ann", &[("mug", 2), ("cap", 1)], Some("first")),
    )
    .unwrap();
    assert_eq!(
        (quoted.discount, quoted.total.to_string()),
        (450, "4050 KRW".to_owned())
    );
    let products: Vec<&str> = quoted
        .lines
        .iter()
        .map(|line| line.product.as_str())
        .collect();
    assert_eq!(products, ["mug", "cap"]);
}

#[test]
fn a_purchase_without_a_coupon_costs_its_lines() {
    let quoted = quote(&sale(), order("ann", &[("cap", 3)], None)).unwrap();
    assert_eq!(
        (quoted.discount, quoted.total.amount, quoted.campaign),
        (0, 7_500, None)
    );
}

#[test]
fn every_bad_field_is_named() {
    let sale = sale();
    let bad = |lines: &[(&str, i64)]| error(&sale, lines, None);
    let named = |field: &str, code| (field.to_owned(), code);
    assert_eq!(bad(&[]), named("lines", "line-count"));
    assert_eq!(
        bad(&[("mug", 1), ("hat", 1)]),
        named("lines[1].product", "unknown-product")
    );
    assert_eq!(
        bad(&[("A mug", 1)]),
        named("lines[0].product", "bad-product")
    );
    assert_eq!(
        bad(&[("mug", 1), ("cap", 1), ("mug", 1)]),
        named("lines[2].product", "product-twice")
    );
    for quantity in [0, -1, 101, i64::MAX, i64::MIN] {
        assert_eq!(
            bad(&[("mug", quantity)]),
            named("lines[0].quantity", "bad-quantity")
        );
    }
    assert_eq!(
        error(&sale, &[("mug", 1)], Some("last")),
        named("campaign", "unknown-campaign")
    );
    assert_eq!(
        error(&sale, &[("mug", 1)], Some("No slug")),
        named("campaign", "unknown-campaign")
    );
}

#[test]
fn numbers_that_are_no_count_are_refused_however_they_are_written() {
    for quantity in [
        "18446744073709551615",
        "18446744073709551616",
        "1.0",
        "1e2",
        "-0",
        "4294967297",
    ] {
        let json = format!(r#"{{"product":"mug","quantity":{quantity}}}"#);
        let line: OrderLine = serde_json::from_str(&json).unwrap();
        let mut order = order("ann", &[], None);
        order.lines.push(line);
        let error = quote(&sale(), order).expect_err(quantity);
        assert_eq!(
            (error.field().as_str(), error.code()),
            ("lines[0].quantity", "bad-quantity")
        );
    }
}

#[test]
fn more_lines_than_allowed_are_refused() {
    let lines = vec![("mug", 1); LINES_MAX + 1];
    assert_eq!(error(&sale(), &lines, None).1, "line-count");
}

#[test]
fn a_coupon_wants_its_minimum_price() {
    let mut sale = sale();
    sale.campaigns[0].minimum_price = 1_001;
    let below = quote(&sale, order("ann", &[("mug", 1)], Some("first"))).expect_err("too cheap");
    assert!(matches!(
        below,
        QuoteError::BelowMinimumPrice {
            minimum_price: 1_001,
            price: 1_000,
            ..
        }
    ));
    assert_eq!(below.field(), "campaign");
    sale.campaigns[0].minimum_price = 1_000;
    assert!(quote(&sale, order("ann", &[("mug", 1)], Some("first"))).is_ok());
}

#[test]
fn what_costs_more_than_can_be_charged_is_refused_and_nothing_overflows() {
    let mut sale = sale();
    for product in &mut sale.products {
        product.unit_price = AMOUNT_MAX;
    }
    assert!(quote(&sale, order("ann", &[("mug", 1)], None)).is_ok());
    assert_eq!(
        error(&sale, &[("mug", 2)], None),
        ("lines[0].quantity".to_owned(), "too-expensive")
    );
    assert_eq!(
        error(&sale, &[("mug", 1), ("cap", 1)], None).0,
        "lines[1].quantity"
    );
    for product in &mut sale.products {
        product.unit_price = u64::MAX;
    }
    assert_eq!(error(&sale, &[("mug", 100)], None).1, "too-expensive");
}

#[test]
fn a_request_is_the_same_after_it_was_stored() {
    let quoted = quote(&sale(), order("ann", &[("mug", 2)], Some("first"))).unwrap();
    let stored = serde_json::to_string(&quoted).unwrap();
    insta::assert_snapshot!(stored, @r#"{"buyer":"ann","sale":"drop","lines":[{"product":"mug","quantity":2,"unit_price":1000}],"campaign":"first","discount":200,"total":{"amount":1800,"currency":"KRW"},"payment":{"method":"stored","token":"token-1"},"hold_until":600000001,"accepted_at":1}"#);
    assert_eq!(
        serde_json::from_str::<workflows::purchase::PurchaseRequest>(&stored).unwrap(),
        quoted
    );
    assert!(
        !format!("{quoted:?}").contains("token-1"),
        "a token is never printed"
    );
    assert_eq!(quoted.lines[0].product, product("mug"));
}

#[test]
fn the_units_are_held_for_as_long_as_the_sale_says() {
    let mut sale = sale();
    sale.hold_for = std::time::Duration::from_secs(90);
    let quoted = quote(&sale, order("ann", &[("mug", 1)], None)).unwrap();
    let held_for = quoted.hold_until.since(quoted.accepted_at);
    assert_eq!(held_for, sale.hold_for);
}

#[test]
fn an_address_is_carried_as_it_was_checked_or_its_wrong_field_is_named() {
    let form = AddressForm {
        name: " Ann ".to_owned(),
        address: "1 High Street".to_owned(),
        zip: "12345".to_owned(),
        phone: "+82 10 1234 5678".to_owned(),
        memo: None,
    };
    let mut addressed = order("ann", &[("mug", 1)], None);
    addressed.address = Some(form.clone());
    let quoted = quote(&sale(), addressed.clone()).unwrap();
    assert_eq!(quoted.address, Some(form.check().unwrap()));
    assert_eq!(
        quoted.address.map(|address| address.name).as_deref(),
        Some("Ann")
    );
    addressed.address = Some(AddressForm {
        zip: "?".to_owned(),
        ..form
    });
    let error = quote(&sale(), addressed).expect_err("no such zip");
    assert_eq!(
        (error.field().as_str(), error.code()),
        ("address.zip", "bad-address")
    );
}
