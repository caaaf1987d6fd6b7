//! Nobody buys, or sees what others bought, without a good token.

use crate::support::http::send;
use crate::support::process::ServeSettings;
use crate::support::shop::Shop;

#[tokio::test]
async fn a_request_without_a_good_token_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let good = shop.token().await;
    let spoiled = format!("{}x", &good[..good.len() - 1]);
    let unsigned = format!(
        "eyJhbGciOiJub25lIn0.{}.",
        good.split('.').nth(1).expect("a payload")
    );
    let long = format!("Bearer {}", "a".repeat(4_000));
    let order = shop.order("tok-1");
    for header in [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Basic {good}")),
        Some(format!("Bearer {spoiled}")),
        Some(format!("Bearer {unsigned}")),
        Some(long),
    ] {
        let post = shop
            .http
            .post(format!("{}/v1/purchases", shop.buyers))
            .header("idempotency-key", "k");
        let get = shop.http.get(format!(
            "{}/v1/purchases/00000001-0000-8000-8000-000000000000",
            shop.buyers
        ));
        for request in [post.json(&order), get] {
            let request = match &header {
                Some(header) => request.header("authorization", header),
                None => request,
            };
            let answer = send(request).await;
            answer.expect_problem(401, "unauthenticated");
            assert_eq!(answer.body["field"], "Authorization", "{header:?}");
        }
    }
}

#[tokio::test]
async fn tokens_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path());
    let server = settings.start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let (token, id) = shop.bought("k", "tok-1").await;
    server.process.kill().await;
    let server = settings.start().await;
    let again = shop.moved_to(&server);
    let settled = again.settled(&token, &id).await;
    assert_eq!(settled["state"], "COMPLETED", "{settled}");
}
