//! A buyer's own purchases, page by page, and nobody else's.

use serde_json::{Value, json};

use super::till::Till;
use crate::support::http::{Answer, send};
use crate::support::shop::seed;

async fn list(till: &Till, token: &str, query: &str) -> Answer {
    let url = format!("{}/v1/me/purchases{query}", till.shop.buyers);
    send(till.shop.http.get(url).bearer_auth(token)).await
}

#[tokio::test]
async fn a_buyers_purchases_are_listed_newest_first_and_page_by_page() {
    let mut sale = seed("drop", 100, 0);
    sale["per_buyer_limit"] = json!(50);
    sale["campaigns"] = json!([]);
    let till = Till::embedded_for(&sale).await;
    let token = till.shop.token().await;
    let mut order = till.shop.order("tok-1");
    order["campaign"] = Value::Null;
    let mut made = Vec::new();
    for number in 0..7 {
        let answer = till.shop.buy(&token, &format!("k-{number}"), &order).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        made.push(answer.body["id"].clone());
    }
    made.reverse();
    let (mut seen, mut pages, mut query) = (Vec::new(), 0, "?limit=3".to_owned());
    loop {
        let page = list(&till, &token, &query).await;
        assert_eq!(page.status, 200, "{page:?}");
        let purchases = page.body["purchases"].as_array().expect("a list");
        assert!(purchases.len() <= 3, "{page:?}");
        seen.extend(purchases.iter().map(|purchase| purchase["id"].clone()));
        pages += 1;
        let Some(cursor) = page.body["next_cursor"].as_str() else {
            break;
        };
        query = format!("?limit=3&cursor={cursor}");
    }
    assert_eq!((seen, pages), (made, 3));
    // The same content as one alone, and nothing for anybody else.
    let first = list(&till, &token, "?limit=1").await;
    assert!(first.body["purchases"][0]["stage"].is_string(), "{first:?}");
    let stranger = till.shop.token().await;
    let nothing = list(&till, &stranger, "").await;
    assert_eq!(nothing.body["purchases"], json!([]));
}

#[tokio::test]
async fn a_bad_page_is_named() {
    let till = Till::embedded(5).await;
    let token = till.shop.token().await;
    for (query, field) in [
        ("?limit=0", "limit"),
        ("?limit=101", "limit"),
        ("?limit=x", "limit"),
        ("?cursor=", "cursor"),
        ("?cursor=1.x", "cursor"),
        ("?page=2", "page"),
    ] {
        let answer = list(&till, &token, query).await;
        answer.expect_problem(400, "invalid-parameter");
        assert_eq!(answer.body["field"], field, "{query}");
    }
    let url = format!("{}/v1/me/purchases", till.shop.buyers);
    let answer = send(till.shop.http.get(url)).await;
    answer.expect_problem(401, "unauthenticated");
}
