//! Whatever is sent, the answer is a 4xx that names what is wrong, and nothing half-made is left behind.

use reqwest::RequestBuilder;
use serde_json::json;

use crate::support::http::{get, send};
use crate::support::process::ServeSettings;
use crate::support::shop::{Shop, seed};

/// What is sent as a purchase, and the problem that it becomes.
struct Case {
    name: &'static str,
    body: Vec<u8>,
    content_type: &'static str,
    status: u16,
    slug: &'static str,
    field: &'static str,
}

fn case(
    name: &'static str,
    body: impl Into<Vec<u8>>,
    status: u16,
    slug: &'static str,
    field: &'static str,
) -> Case {
    Case {
        name,
        body: body.into(),
        content_type: "application/json",
        status,
        slug,
        field,
    }
}

/// A good order with one part replaced.
fn with(part: &str, other: &str) -> String {
    let good = r#"{"sale":"open","lines":[{"product":"mug","quantity":1}],"campaign":null,"payment":{"method":"stored","token":"tok-1"}}"#;
    assert!(good.contains(part), "{part}");
    good.replace(part, other)
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    let invalid = "invalid-field";
    let mut cases = vec![
        case("no body", "", 400, "malformed-body", "body"),
        case("not JSON", "sale=open", 400, "malformed-body", "body"),
        case(
            "cut off",
            r#"{"sale":"open","lines":["#,
            400,
            "malformed-body",
            "lines",
        ),
        case(
            "more after the JSON",
            with("{\"sale\"", "{} {\"sale\""),
            422,
            invalid,
            "sale",
        ),
        case(
            "garbage after the JSON",
            format!("{}x", with("null", "null")),
            400,
            "malformed-body",
            "body",
        ),
        case(
            "invalid UTF-8",
            [b"{\"sale\":\"".as_slice(), &[0xff, 0xfe], b"\"}"].concat(),
            400,
            "malformed-body",
            "body",
        ),
        case(
            "lone surrogate",
            with("\"open\"", r#""\ud800""#),
            400,
            "malformed-body",
            "sale",
        ),
        case("an array", "[]", 422, invalid, "body"),
        case("null", "null", 422, invalid, "body"),
        case(
            "deep nesting",
            with("null", &"[".repeat(5_000)),
            422,
            invalid,
            "campaign",
        ),
        case(
            "deep nesting of an object",
            "{\"sale\":".repeat(1_000),
            422,
            invalid,
            "sale",
        ),
        case(
            "field twice",
            with("\"sale\":", "\"sale\":\"x\",\"sale\":"),
            422,
            invalid,
            "sale",
        ),
        case(
            "unknown field",
            with("\"sale\":", "\"price\":1,\"sale\":"),
            422,
            invalid,
            "price",
        ),
        case(
            "unknown field of a line",
            with("\"quantity\":1", "\"quantity\":1,\"price\":0"),
            422,
            invalid,
            "lines[0].price",
        ),
        case(
            "unknown field of the payment",
            with("\"token\":", "\"amount\":1,\"token\":"),
            422,
            invalid,
            "payment.amount",
        ),
        case(
            "no sale",
            with("\"sale\":\"open\",", ""),
            422,
            invalid,
            "sale",
        ),
        case(
            "no product",
            with("\"product\":\"mug\",", ""),
            422,
            invalid,
            "lines[0].product",
        ),
        case(
            "a sale that is no name",
            with("\"open\"", "\"Not A Name!\""),
            422,
            invalid,
            "sale",
        ),
        case(
            "an empty sale",
            with("\"open\"", "\"\""),
            422,
            invalid,
            "sale",
        ),
        case(
            "a sale of a type",
            with("\"open\"", "7"),
            422,
            invalid,
            "sale",
        ),
        case(
            "an unknown sale",
            with("\"open\"", "\"nowhere\""),
            404,
            "not-found",
            "sale",
        ),
        case(
            "no lines",
            with(r#"[{"product":"mug","quantity":1}]"#, "[]"),
            422,
            "line-count",
            "lines",
        ),
        case(
            "lines of a type",
            with(r#"[{"product":"mug","quantity":1}]"#, "{}"),
            422,
            invalid,
            "lines",
        ),
        case(
            "an unknown product",
            with("\"mug\"", "\"cup\""),
            422,
            "unknown-product",
            "lines[0].product",
        ),
        case(
            "a product that is no name",
            with("\"mug\"", "\"M U G\""),
            422,
            "bad-product",
            "lines[0].product",
        ),
        case(
            "a product twice",
            with(
                "{\"product\":\"mug\",\"quantity\":1}",
                r#"{"product":"mug","quantity":1},{"product":"mug","quantity":1}"#,
            ),
            422,
            "product-twice",
            "lines[1].product",
        ),
        case(
            "an unknown campaign",
            with("null", "\"nothing-off\""),
            422,
            "unknown-campaign",
            "campaign",
        ),
        case(
            "a campaign of a type",
            with("null", "[1]"),
            422,
            invalid,
            "campaign",
        ),
        case(
            "an unknown payment method",
            with("\"stored\"", "\"cash\""),
            422,
            invalid,
            "payment.method",
        ),
        case(
            "an empty payment token",
            with("\"tok-1\"", "\"\""),
            422,
            invalid,
            "payment.token",
        ),
        case(
            "a payment token with a line feed",
            with("\"tok-1\"", r#""a\nb""#),
            422,
            invalid,
            "payment.token",
        ),
        case(
            "a payment that is none",
            with(r#"{"method":"stored","token":"tok-1"}"#, "null"),
            422,
            invalid,
            "payment",
        ),
        case(
            "17 KiB",
            with("\"tok-1\"", &format!("\"{}\"", "a".repeat(17 * 1024))),
            413,
            "body-too-large",
            "",
        ),
        case("1 MiB", "x".repeat(1024 * 1024), 413, "body-too-large", ""),
    ];
    for quantity in [
        "0",
        "-1",
        "1.5",
        "1e3",
        "101",
        "4294967297",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "18446744073709551616",
    ] {
        let body = with("\"quantity\":1", &format!("\"quantity\":{quantity}"));
        cases.push(case(
            "a quantity out of bounds",
            body,
            422,
            "bad-quantity",
            "lines[0].quantity",
        ));
    }
    for quantity in ["\"1\"", "null", "true", "[]"] {
        let body = with("\"quantity\":1", &format!("\"quantity\":{quantity}"));
        cases.push(case(
            "a quantity of a type",
            body,
            422,
            invalid,
            "lines[0].quantity",
        ));
    }
    for quantity in ["1e999", "01", "+1", "NaN"] {
        let body = with("\"quantity\":1", &format!("\"quantity\":{quantity}"));
        cases.push(case(
            "a quantity that is no JSON",
            body,
            400,
            "malformed-body",
            "lines[0].quantity",
        ));
    }
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
    ] {
        let body = with("null", "null");
        let case = case(
            "a content type",
            body,
            415,
            "unsupported-media-type",
            "Content-Type",
        );
        cases.push(Case {
            content_type,
            ..case
        });
    }
    cases
}

#[tokio::test]
async fn every_bad_purchase_is_a_4xx_that_names_the_field_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let token = shop.token().await;
    let mut wrong = Vec::new();
    for Case {
        name,
        body,
        content_type,
        status,
        slug,
        field,
    } in cases()
    {
        let shown = String::from_utf8_lossy(&body[..body.len().min(150)]).into_owned();
        let mut request = shop
            .http
            .post(format!("{}/v1/purchases", shop.buyers))
            .bearer_auth(&token);
        request = request.header("idempotency-key", "bad").body(body);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let answer = send(request).await;
        let got = (
            answer.status,
            answer.body["type"]
                .as_str()
                .unwrap_or_default()
                .trim_start_matches("/problems/")
                .to_owned(),
            answer.body["field"].as_str().unwrap_or_default().to_owned(),
        );
        println!("{name}: {shown}\n  -> {got:?} {}", answer.text);
        if got == (status, slug.to_owned(), field.to_owned()) {
            answer.expect_problem(status, slug);
        } else {
            wrong.push(format!("{name}: {shown} is {got:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(nothing_was_made(&shop).await, json!([]));
    // The key of all those was not used up.
    let good = shop.buy(&token, "bad", &shop.order("tok-1")).await;
    assert_eq!(good.status, 202, "{good:?}");
}

async fn nothing_was_made(shop: &Shop) -> serde_json::Value {
    get(&shop.http, format!("{}/v1/workflows", shop.operators))
        .await
        .body["workflows"]
        .clone()
}

#[tokio::test]
async fn refusals_say_why_and_leave_no_workflow() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 1, 1).await;
    for (sale, opens_at, closes_at) in [
        ("closed", "2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"),
        ("later", "2100-01-01T00:00:00Z", "2100-01-02T00:00:00Z"),
        ("empty", "2020-01-01T00:00:00Z", "2100-01-02T00:00:00Z"),
    ] {
        let mut other = seed(sale, u32::from(sale != "empty"), 1);
        (other["opens_at"], other["closes_at"]) = (opens_at.into(), closes_at.into());
        assert_eq!(shop.seed(&other).await.status, 201);
    }
    let token = shop.token().await;
    for (sale, quantity, slug) in [
        ("closed", 1, "sale-closed"),
        ("later", 1, "sale-not-open"),
        ("empty", 1, "sold-out"),
        ("open", 2, "limit-reached"),
    ] {
        let mut order = shop.order("tok-1");
        order["sale"] = sale.into();
        order["lines"][0]["quantity"] = quantity.into();
        let answer = shop.buy(&token, "key", &order).await;
        println!("{sale}: {}", answer.text);
        answer.expect_problem(409, slug);
    }
    assert_eq!(nothing_was_made(&shop).await, json!([]));
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn bad_urls_and_parameters_are_4xx_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let token = shop.token().await;
    let accepted = shop.buy(&token, "good", &shop.order("tok-1")).await;
    let id = accepted.body["id"].as_str().expect("an id").to_owned();
    let stranger = shop.token().await;
    let (buyers, operators) = (&shop.buyers, &shop.operators);
    let purchase = |query: &str| {
        shop.http
            .get(format!("{buyers}/v1/purchases/{id}{query}"))
            .bearer_auth(&token)
    };
    let operator = |path: &str| shop.http.get(format!("{operators}{path}"));
    let cases: Vec<(RequestBuilder, u16, &str, &str)> = vec![
        (purchase("?wait=31s"), 400, "invalid-parameter", "wait"),
        (purchase("?wait=-1s"), 400, "invalid-parameter", "wait"),
        (purchase("?wait=10"), 400, "invalid-parameter", "wait"),
        (
            purchase("?wait=99999999999999999999s"),
            400,
            "invalid-parameter",
            "wait",
        ),
        (
            purchase("?patience=1s"),
            400,
            "invalid-parameter",
            "patience",
        ),
        (
            shop.http
                .get(format!("{buyers}/v1/purchases/{id}"))
                .bearer_auth(&stranger),
            404,
            "not-found",
            "",
        ),
        (
            shop.http
                .get(format!("{buyers}/v1/purchases/not-an-id"))
                .bearer_auth(&token),
            404,
            "not-found",
            "",
        ),
        (
            shop.http
                .get(format!("{buyers}/v1/purchases/%ff%fe"))
                .bearer_auth(&token),
            400,
            "invalid-parameter",
            "path",
        ),
        (
            shop.http.get(format!("{buyers}/v1/sales/nowhere")),
            404,
            "not-found",
            "",
        ),
        (
            shop.http.get(format!("{buyers}/v2/purchases")),
            404,
            "unknown-path",
            "",
        ),
        (
            shop.http.delete(format!("{buyers}/v1/purchases/{id}")),
            405,
            "method-not-allowed",
            "",
        ),
        (
            shop.http.get(format!("{buyers}/v1/workflows")),
            404,
            "unknown-path",
            "",
        ),
        (
            operator("/v1/workflows?state=LOST"),
            400,
            "invalid-parameter",
            "state",
        ),
        (
            operator("/v1/workflows?limit=0"),
            400,
            "invalid-parameter",
            "limit",
        ),
        (
            operator("/v1/workflows?limit=501"),
            400,
            "invalid-parameter",
            "limit",
        ),
        (
            operator("/v1/workflows?limit=-1"),
            400,
            "invalid-parameter",
            "limit",
        ),
        (
            operator("/v1/workflows?cursor=zz"),
            400,
            "invalid-parameter",
            "cursor",
        ),
        (
            operator("/v1/workflows?status=RUNNING"),
            400,
            "invalid-parameter",
            "status",
        ),
        (operator("/v1/workflows/not-an-id"), 404, "not-found", ""),
        (
            operator(&format!("/v1/workflows/{id}/events?after=-1")),
            400,
            "invalid-parameter",
            "after",
        ),
        (
            operator(&format!("/v1/workflows/{id}/events?limit=x")),
            400,
            "invalid-parameter",
            "limit",
        ),
        (
            operator("/v1/definitions/nothing/diagram"),
            404,
            "not-found",
            "",
        ),
        (operator("/v1/nothing"), 404, "unknown-path", ""),
        (
            shop.http.put(format!("{operators}/v1/sales")),
            405,
            "method-not-allowed",
            "",
        ),
    ];
    for (request, status, slug, field) in cases {
        let answer = send(request).await;
        println!("{} {}", answer.status, answer.text);
        answer.expect_problem(status, slug);
        assert_eq!(
            answer.body["field"].as_str().unwrap_or_default(),
            field,
            "{answer:?}"
        );
    }
}

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
        .http
        .post(format!("{}/v1/sales", shop.operators))
        .header("content-type", "application/json");
    send(large.body("x".repeat(1024 * 1024 + 1)))
        .await
        .expect_problem(413, "body-too-large");
}
