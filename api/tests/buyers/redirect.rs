//! A purchase that is paid at the gateway, from the hold to the goods, and every way in which it ends otherwise.

use serde_json::json;

use super::till::{Till, authorised, declined};

#[tokio::test]
async fn a_buyer_who_comes_back_from_the_gateway_gets_the_goods() {
    comes_back(&Till::embedded(5).await).await;
    if let Some(till) = Till::over_servers(5).await {
        comes_back(&till).await;
    }
}

async fn comes_back(till: &Till) {
    let (payer, page) = till.payer().await;
    let url = format!("{}/v1/purchases/{}", till.shop.buyers, payer.id);
    let held = crate::support::http::send(till.shop.http.get(url).bearer_auth(&payer.token)).await;
    assert_eq!(held.body["stage"], "awaiting-payment", "{held:?}");
    assert!(held.body["hold_until"].is_string(), "{held:?}");
    assert!(held.body["message"].is_string(), "{held:?}");
    assert_eq!(till.stock_left().await, 4);
    // The page is there for people too.
    let shown = till.shop.http.get(&page).send().await.expect("a page");
    assert_eq!(shown.status(), 200);
    let authorization = till.authorise(&page, "webhook-lost").await;
    let confirmed = till.confirm(&payer, &authorization).await;
    assert_eq!(confirmed.status, 202, "{confirmed:?}");
    let settled = till.settled(&payer).await;
    assert_eq!(settled["stage"], "completed", "{settled}");
    assert_eq!(settled["goods"].as_array().map(Vec::len), Some(1));
    assert!(settled.get("redirect_url").is_none(), "{settled}");
    assert_eq!(till.ledger_of(&payer.id).await, [1, 0, 0]);
    // Coming back once more changes nothing.
    let again = till.confirm(&payer, &authorization).await;
    assert_eq!(again.status, 202, "{again:?}");
    assert_eq!(again.body["stage"], "completed");
    till.shop.quiet().await;
    till.shop.verify().await;
}

#[tokio::test]
async fn the_webhook_of_a_buyer_who_does_not_come_back_is_enough() {
    webhook_alone(&Till::embedded(5).await).await;
    if let Some(till) = Till::over_servers(5).await {
        webhook_alone(&till).await;
    }
}

async fn webhook_alone(till: &Till) {
    for rule in [
        "",
        "webhook-duplicated",
        "webhook-early",
        "webhook-late",
        "webhook-reordered",
    ] {
        let (payer, page) = till.payer().await;
        let authorization = till.authorise(&page, rule).await;
        let settled = till.settled(&payer).await;
        assert_eq!(settled["stage"], "completed", "{rule}: {settled}");
        assert_eq!(till.ledger_of(&payer.id).await, [1, 0, 0], "{rule}");
        // The buyer comes back at last, with what was taken.
        let confirmed = till.confirm(&payer, &authorization).await;
        assert_eq!(confirmed.status, 202, "{rule}: {confirmed:?}");
    }
    till.shop.quiet().await;
    till.shop.verify().await;
}

#[tokio::test]
async fn a_buyer_who_declines_is_not_charged_and_the_units_are_on_sale_again() {
    let till = Till::embedded(5).await;
    let (payer, page) = till.payer().await;
    till.decide(&page, "decline", "").await;
    let settled = till.settled(&payer).await;
    assert_eq!(settled["stage"], "refused", "{settled}");
    assert_eq!(settled["reason"]["code"], "payment-declined", "{settled}");
    assert_eq!(till.ledger_of(&payer.id).await, [0, 0, 0]);
    till.stock_comes_to(5).await;
    let late = till.confirm(&payer, "auth-that-came-late").await;
    late.expect_problem(409, "payment-over");
    assert_eq!(late.body["stage"], "refused", "{late:?}");
    assert_eq!(late.body["retry"]["can_help"], false, "{late:?}");
    // The buyer may have another, with the coupon.
    let again = till.shop.buy(&payer.token, "k2", &till.order()).await;
    assert_eq!(again.status, 202, "{again:?}");
}

#[tokio::test]
async fn a_purchase_that_is_cancelled_before_it_is_paid_returns_what_it_held() {
    cancels(&Till::embedded(5).await).await;
    if let Some(till) = Till::over_servers(5).await {
        cancels(&till).await;
    }
}

async fn cancels(till: &Till) {
    let (payer, page) = till.payer().await;
    assert_eq!(till.stock_left().await, 4);
    let cancelled = till.cancel(&payer).await;
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    let settled = till.settled(&payer).await;
    assert_eq!(settled["stage"], "cancelled", "{settled}");
    assert_eq!(settled["reason"]["code"], "cancelled-by-buyer", "{settled}");
    till.stock_comes_to(5).await;
    // Once more is the same; what comes after it is told so.
    assert_eq!(till.cancel(&payer).await.status, 202);
    let authorization = till.authorise(&page, "").await;
    let late = till.confirm(&payer, &authorization).await;
    late.expect_problem(409, "payment-over");
    assert_eq!(late.body["stage"], "cancelled", "{late:?}");
    assert_eq!(till.ledger_of(&payer.id).await, [0, 0, 0]);
    till.shop.quiet().await;
    assert_eq!(till.stock_left().await, 5);
}

#[tokio::test]
async fn a_purchase_that_is_paid_can_not_be_cancelled() {
    let till = Till::embedded(5).await;
    let (payer, page) = till.payer().await;
    let authorization = till.authorise(&page, "webhook-lost").await;
    assert_eq!(till.confirm(&payer, &authorization).await.status, 202);
    till.settled(&payer).await;
    let late = till.cancel(&payer).await;
    late.expect_problem(409, "too-late-to-cancel");
    assert_eq!(late.body["stage"], "completed", "{late:?}");
    // A stored means of payment leaves no time to cancel.
    let (token, id) = till.shop.bought("stored", "tok-1").await;
    till.shop.settled(&token, &id).await;
    till.cancel_as(&token, &id)
        .await
        .expect_problem(409, "too-late-to-cancel");
    let request = till.confirmation(&token, &id, "auth-1");
    crate::support::http::send(request)
        .await
        .expect_problem(409, "payment-over");
}

#[tokio::test]
async fn another_buyer_can_neither_confirm_nor_cancel() {
    let till = Till::embedded(5).await;
    let (payer, page) = till.payer().await;
    let authorization = till.authorise(&page, "webhook-lost").await;
    let stranger = till.shop.token().await;
    let request = till.confirmation(&stranger, &payer.id, &authorization);
    crate::support::http::send(request)
        .await
        .expect_problem(404, "not-found");
    till.cancel_as(&stranger, &payer.id)
        .await
        .expect_problem(404, "not-found");
    let confirmed = till.confirm(&payer, &authorization).await;
    assert_eq!(confirmed.status, 202, "{confirmed:?}");
    assert_eq!(till.settled(&payer).await["stage"], "completed");
}

#[tokio::test]
async fn nobody_who_does_not_pay_in_time_keeps_the_units() {
    let mut sale = crate::support::shop::seed("drop", 5, 5);
    sale["hold_seconds"] = json!(10);
    let till = Till::embedded_for(&sale).await;
    let (payer, page) = till.payer().await;
    let settled = till.settled(&payer).await;
    assert_eq!(settled["stage"], "expired", "{settled}");
    assert_eq!(settled["reason"]["code"], "hold-expired", "{settled}");
    till.stock_comes_to(5).await;
    // What is said now comes too late, whoever says it.
    let late = till.confirm(&payer, "auth-that-came-late").await;
    late.expect_problem(409, "payment-over");
    let late = till
        .webhook(&authorised("late", &payer.id, "auth-late"))
        .await;
    assert_eq!(late.status, 204, "{late:?}");
    let late = till.cancel(&payer).await;
    late.expect_problem(409, "too-late-to-cancel");
    assert_eq!(till.ledger_of(&payer.id).await, [0, 0, 0]);
    drop(page);
    till.shop.quiet().await;
}

#[tokio::test]
async fn of_webhooks_in_the_wrong_order_the_first_one_counts() {
    let till = Till::embedded(5).await;
    let (payer, page) = till.payer().await;
    let authorization = till.authorise(&page, "webhook-lost").await;
    let first = till
        .webhook(&authorised("e-1", &payer.id, &authorization))
        .await;
    assert_eq!(first.status, 204, "{first:?}");
    for event in [
        declined("e-0", &payer.id),
        authorised("e-1", &payer.id, &authorization),
        authorised("e-2", &payer.id, &authorization),
        json!({ "id": "e-3", "type": "payment.captured", "order_id": payer.id, "payment_id": "p-1",
                "amount": 1, "currency": "KRW", "created_at": "2026-01-01T00:00:00Z" }),
        json!({ "id": "e-4", "type": "payment.of-the-future", "order_id": payer.id,
                "created_at": "2026-01-01T00:00:00Z" }),
    ] {
        let answer = till.webhook(&event).await;
        assert_eq!(answer.status, 204, "{event}: {answer:?}");
    }
    assert_eq!(till.settled(&payer).await["stage"], "completed");
    assert_eq!(till.ledger_of(&payer.id).await, [1, 0, 0]);
}
