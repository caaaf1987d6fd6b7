//! The page that a buyer's browser sees: two buttons, no scripts, and nothing of anybody else's in its HTML.

use reqwest::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde_json::json;

use crate::{Shop, reservation, settings};

/// A browser that shows where it is sent.
fn browser() -> Client {
    Client::builder()
        .redirect(Policy::none())
        .build()
        .expect("a client")
}

async fn show(shop: &Shop, id: &str) -> Response {
    let page = browser().get(shop.url(&format!("/pay/{id}"))).send().await;
    page.expect("an answer")
}

async fn submit(shop: &Shop, id: &str, form: &'static str) -> Response {
    let request = browser()
        .post(shop.url(&format!("/pay/{id}")))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form);
    request.send().await.expect("an answer")
}

#[tokio::test]
async fn the_page_has_two_buttons_and_no_scripts() {
    let shop = Shop::open(settings()).await;
    let id = shop.reserved("o1").await;
    let page = show(&shop, &id).await;
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()[CONTENT_SECURITY_POLICY]
        .to_str()
        .expect("text");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    assert_eq!(page.headers()["referrer-policy"], "no-referrer");
    assert_eq!(page.headers()["cache-control"], "no-store");
    let html = page.text().await.expect("a page");
    for part in [
        "o1",
        "1000 KRW",
        r#"value="authorise""#,
        r#"value="decline""#,
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert!(!html.contains("<script"), "{html}");
}

#[tokio::test]
async fn a_form_sends_the_buyer_back_with_the_authorisation() {
    let shop = Shop::open(settings()).await;
    let mut body = reservation("o1");
    body["return_url"] = json!("http://shop.example/back?lang=ko");
    let id = shop.reserve("k1", &body).await.1["reservation_id"].clone();
    let id = id.as_str().expect("an id");
    let page = submit(&shop, id, "rule=&decision=authorise").await;
    assert_eq!(page.status(), StatusCode::SEE_OTHER);
    let location = page.headers()[LOCATION].to_str().expect("text");
    assert!(
        location.starts_with("http://shop.example/back?lang=ko&order_id=o1&authorization=auth-"),
        "{location}"
    );
    let again = shop.decide(id, &json!({ "decision": "authorise" })).await.1;
    assert_eq!(again["return_url"], location, "JSON says the same");
    let html = show(&shop, id).await.text().await.expect("a page");
    assert!(
        html.contains("Authorised") && !html.contains("<button"),
        "{html}"
    );
}

#[tokio::test]
async fn a_form_without_a_return_url_shows_what_was_decided() {
    let shop = Shop::open(settings()).await;
    let (one, other) = (shop.reserved("o1").await, shop.reserved("o2").await);
    let page = submit(&shop, &one, "decision=authorise&rule=webhook-late").await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.expect("a page").contains("auth-"));
    let page = submit(&shop, &other, "decision=decline").await;
    assert!(page.text().await.expect("a page").contains("Declined"));
    let page = submit(&shop, &other, "decision=authorise").await;
    assert_eq!(page.status(), StatusCode::CONFLICT);
    assert!(
        page.text()
            .await
            .expect("a page")
            .contains("decided otherwise")
    );
}

#[tokio::test]
async fn what_is_no_form_is_a_page_that_says_so() {
    let shop = Shop::open(settings()).await;
    let id = shop.reserved("o1").await;
    for form in [
        "",
        "decision=maybe",
        "decision=authorise&decision=decline",
        "a",
        "%ff=%",
        "decision=authorise&x=1",
    ] {
        let page = submit(&shop, &id, form).await;
        assert_eq!(page.status(), StatusCode::BAD_REQUEST, "{form}");
        assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    }
    let page = show(&shop, "%3Cb%3E").await;
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
    assert!(!page.text().await.expect("a page").contains("<b>"));
    let page = submit(&shop, &id, "decision=authorise&rule=%3Cb%3E%27%22").await;
    let html = page.text().await.expect("a page");
    assert!(
        html.contains("&lt;b&gt;") && !html.contains("<b>"),
        "{html}"
    );
}
