//! Paths, parameters and methods that make no sense.

use reqwest::RequestBuilder;

use crate::support::http::send;
use crate::support::process::ServeSettings;
use crate::support::shop::Shop;

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
    let operator = |path: &str| shop.operators().get(format!("{operators}{path}"));
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
            shop.operators().put(format!("{operators}/v1/sales")),
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
