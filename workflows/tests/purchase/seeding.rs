//! A sale as an operator writes it: every problem is named by its field.

use serde_json::{Value, json};
use workflows::domain::seed::SaleSeed;

use crate::support::seed;

/// What is wrong when the value at this place of a sound seed is another one.
fn problem(pointer: &str, value: Value) -> (String, String) {
    let mut json = serde_json::to_value(seed()).unwrap();
    *json.pointer_mut(pointer).expect("a place of the seed") = value;
    problem_of(&json)
}

fn problem_of(json: &Value) -> (String, String) {
    let invalid = match SaleSeed::from_json(json.to_string().as_bytes()) {
        Ok(seed) => seed.check().expect_err("it is not sound"),
        Err(invalid) => invalid,
    };
    (invalid.field, invalid.problem)
}

#[test]
fn a_sound_seed_is_ordered_by_name() {
    let json = serde_json::to_vec(&seed()).unwrap();
    let sale = SaleSeed::from_json(&json).unwrap().check().unwrap();
    let products: Vec<&str> = sale
        .products
        .iter()
        .map(|product| product.product.as_str())
        .collect();
    assert_eq!((products, sale.units()), (vec!["cap", "mug"], 15));
}

#[test]
fn every_bad_value_is_named_by_its_field() {
    let fields = [
        ("/sale", json!("Drop 1"), "sale"),
        ("/name", json!("   "), "name"),
        ("/name", json!("a\u{0}b"), "name"),
        ("/name", json!("x".repeat(201)), "name"),
        ("/currency", json!("won"), "currency"),
        ("/opens_at", json!("tomorrow"), "opens_at"),
        ("/closes_at", json!("1970-01-02T00:00:00Z"), "closes_at"),
        ("/per_buyer_limit", json!(0), "per_buyer_limit"),
        ("/per_buyer_limit", json!(101), "per_buyer_limit"),
        ("/per_buyer_limit", json!("4"), "per_buyer_limit"),
        ("/products", json!([]), "products"),
        ("/products/1/product", json!("mug"), "products[1].product"),
        (
            "/products/0/unit_price",
            json!(-1),
            "products[0].unit_price",
        ),
        (
            "/products/0/unit_price",
            json!(0.5),
            "products[0].unit_price",
        ),
        ("/products/1/stock", json!(u64::MAX), "products[1].stock"),
        ("/products/1/stock", json!(null), "products[1].stock"),
        ("/campaigns/0/size", json!(1e30), "campaigns[0].size"),
        (
            "/campaigns/0/discount",
            json!({"percent": 101}),
            "campaigns[0].discount.percent",
        ),
        (
            "/campaigns/0/discount",
            json!({"amount": 0}),
            "campaigns[0].discount.amount",
        ),
        (
            "/campaigns/0/minimum_price",
            json!(-5),
            "campaigns[0].minimum_price",
        ),
    ];
    for (pointer, value, field) in fields {
        assert_eq!(
            problem(pointer, value.clone()).0,
            field,
            "{pointer} = {value}"
        );
    }
}

#[test]
fn unknown_and_missing_fields_are_named() {
    let mut json = serde_json::to_value(seed()).unwrap();
    json["products"][1]["colour"] = json!("red");
    let (field, problem) = problem_of(&json);
    assert_eq!(field, "products[1].colour");
    assert!(problem.contains("unknown field"), "{problem}");

    let mut json = serde_json::to_value(seed()).unwrap();
    json["products"][0].as_object_mut().unwrap().remove("stock");
    let (field, problem) = problem_of(&json);
    assert_eq!(field, "products[0]");
    assert!(problem.contains("missing field `stock`"), "{problem}");
}

#[test]
fn what_is_no_json_is_refused() {
    for text in ["", "{", "[]", "null", "{}{}"] {
        assert!(SaleSeed::from_json(text.as_bytes()).is_err(), "{text}");
    }
}
