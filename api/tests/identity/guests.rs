//! A buyer is the subject of a token and nobody else.

use reqwest::Method;
use serde_json::json;

use super::forge::{For, KEY};
use crate::support::http::{Answer, send};
use crate::support::process::ServeSettings;
use crate::support::shop::Shop;

#[tokio::test]
async fn another_guest_cant_see_or_touch_a_purchase() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let stranger = shop.token().await;
    let mut order = shop.order("tok-unused");
    order["payment"] = json!({ "method": "redirect" });
    let owner = shop.token().await;
    let awaiting = shop.buy(&owner, "k", &order).await;
    assert_eq!(awaiting.status, 202, "{awaiting:?}");
    let awaiting = awaiting.body["id"].as_str().expect("an id").to_owned();
    let (paid_by, paid) = shop.bought("k", "tok-1").await;
    shop.settled(&paid_by, &paid).await;

    let ask = async |token: &str, method: Method, path: String| -> Answer {
        let url = format!("{}/v1/purchases/{path}", shop.buyers);
        let request = shop.http.request(method.clone(), url).bearer_auth(token);
        send(if method == Method::POST {
            request.json(&json!({ "authorization": "auth-1" }))
        } else {
            request
        })
        .await
    };
    for id in [&awaiting, &paid] {
        for (method, path) in [
            (Method::GET, id.clone()),
            (Method::GET, format!("{id}?wait=5s")),
            (Method::POST, format!("{id}/confirm")),
            (Method::POST, format!("{id}/cancel")),
        ] {
            let answer = ask(&stranger, method, path).await;
            answer.expect_problem(404, "not-found");
        }
    }
    let mine = ask(&owner, Method::GET, awaiting.clone()).await;
    assert_eq!(mine.status, 200, "{mine:?}");
    // The stranger's key is the stranger's, even when it is the same text.
    let theirs = shop.buy(&stranger, "k", &order).await;
    assert_eq!(theirs.status, 202, "{theirs:?}");
    assert_ne!(theirs.body["id"], awaiting.as_str());
    let list = send(
        shop.http
            .get(format!("{}/v1/me/purchases", shop.buyers))
            .bearer_auth(&stranger),
    )
    .await;
    assert!(
        !list.text.contains(&awaiting) && !list.text.contains(&paid),
        "{list:?}"
    );
}

#[tokio::test]
async fn a_buyer_is_never_a_field_of_the_body() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let token = shop.token().await;
    let mut order = shop.order("tok-1");
    order["buyer"] = json!("somebody-else");
    let answer = shop.buy(&token, "k", &order).await;
    answer.expect_problem(422, "invalid-field");
    assert_eq!(answer.body["field"], "buyer", "{answer:?}");
}

#[tokio::test]
async fn a_buyer_whom_the_shop_has_signed_in_is_the_same_from_every_token() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path()).with("HOLDFAST_TOKEN_KEY", KEY);
    let server = settings.start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    // By this program, and by a program of the shop's own with the same key.
    let ours = settings.token(&["--buyer", "alice"]).await;
    let theirs = For::Buyers.signed(&For::Buyers.claims());
    let order = shop.order("tok-1");
    let bought = shop.buy(&ours, "k", &order).await;
    assert_eq!(bought.status, 202, "{bought:?}");
    let again = shop.buy(&theirs, "k", &order).await;
    assert_eq!(again.body["id"], bought.body["id"]);
    let all = settings.token(&["--buyer", "alice", "-o", "json"]).await;
    let all: serde_json::Value = serde_json::from_str(&all).expect("JSON");
    let refreshed = send(
        shop.http
            .post(format!("{}/v1/auth/refresh", shop.buyers))
            .json(&json!({ "refresh_token": all["refresh_token"] })),
    )
    .await;
    assert_eq!(refreshed.body["buyer"], "alice", "{refreshed:?}");
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
