//! The table of bad purchases: what is sent, and the problem that it becomes.

/// What is sent as a purchase, and the problem that it becomes.
pub struct Case {
    pub name: &'static str,
    pub body: Vec<u8>,
    pub content_type: &'static str,
    pub status: u16,
    pub slug: &'static str,
    pub field: &'static str,
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
pub fn cases() -> Vec<Case> {
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
