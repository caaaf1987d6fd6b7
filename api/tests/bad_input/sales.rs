//! Sales that can't be seeded.

use serde_json::json;

use crate::support::http::{get, send};
use crate::support::process::ServeSettings;
use crate::support::shop::{Shop, seed};

/// Makes one thing about a sale wrong.
type Break = fn(&mut serde_json::Value);

#[tokio::test]
async fn a_bad_sale_is_refused_as_a_whole_and_its_field_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let cases: [(Break, u16, &str); 11] = [
        (|sale| sale["sale"] = json!("Not A Name"), 422, "sale"),
        (|sale| sale["name"] = json!(""), 422, "name"),
        (|sale| sale["currency"] = json!("won"), 422, "currency"),
        (|sale| sale["opens_at"] = json!("tomorrow"), 422, "opens_at"),
        (
            |sale| sale["closes_at"] = json!("2019-01-01T00:00:00Z"),
            422,
            "closes_at",
        ),
        (
            |sale| sale["per_buyer_limit"] = json!(0),
            422,
            "per_buyer_limit",
        ),
        (|sale| sale["products"] = json!([]), 422, "products"),
        (
            |sale| sale["products"][0]["stock"] = json!(-1),
            422,
            "products[0].stock",
        ),
        (
            |sale| sale["products"][0]["unit_price"] = json!(i64::MAX),
            422,
            "products[0].unit_price",
        ),
        (
            |sale| sale["campaigns"][0]["discount"] = json!({ "percent": 101 }),
            422,
            "campaigns[0].discount.percent",
        ),
        (|sale| sale["colour"] = json!("red"), 422, "colour"),
    ];
    for (spoil, status, field) in cases {
        let mut sale = seed("bad", 1, 1);
        spoil(&mut sale);
        let answer = shop.seed(&sale).await;
        println!("{}", answer.text);
        answer.expect_problem(status, "invalid-field");
        assert_eq!(answer.body["field"], field, "{answer:?}");
        assert_eq!(
            get(&shop.http, format!("{}/v1/sales/bad", shop.buyers))
                .await
                .status,
            404
        );
    }
    assert_eq!(
        shop.seed(&seed("open", 10, 10)).await.status,
        200,
        "the same again"
    );
    shop.seed(&seed("open", 11, 10))
        .await
        .expect_problem(409, "conflict");
    let large = shop
        .operators()
        .post(format!("{}/v1/sales", shop.operators))
        .header("content-type", "application/json");
    send(large.body("x".repeat(1024 * 1024 + 1)))
        .await
        .expect_problem(413, "body-too-large");
}
