//! `GET /v1/purchases/{id}?wait=`: a wait that runs out is answered on time with where the purchase stands, and one that does not
//! brings the goods.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::till::Till;
use crate::support::rounds::{kept_in_one_round, within};

/// What is asked for, and how much later the answer may come.
const WAIT: Duration = Duration::from_secs(1);
const LATE_MAX: Duration = Duration::from_millis(250);

#[tokio::test]
async fn a_wait_that_runs_out_is_answered_on_time_with_where_the_purchase_stands() {
    let till = Till::embedded(5).await;
    let (payer, page) = till.payer().await;
    kept_in_one_round("the end of a wait", async |_| {
        let begun = Instant::now();
        let path = format!("{}?wait=1s", payer.id);
        let answer = till.shop.ask(&payer.token, &path).await;
        let took = begun.elapsed();
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = &answer.body;
        assert_eq!(body["id"], payer.id.as_str(), "{body:#}");
        assert_eq!(body["state"], "RUNNING", "{body:#}");
        assert_eq!(body["stage"], "awaiting-payment", "{body:#}");
        let sentence =
            "Your units are held until you have authorised the payment, or until its time is over.";
        assert_eq!(body["message"], sentence, "{body:#}");
        assert_eq!(body["redirect_url"], page.as_str(), "{body:#}");
        assert!(body.get("goods").is_none(), "{body:#}");
        // By another clock, which may differ by a little.
        assert!(took + LATE_MAX > WAIT, "it waited for {took:?} only");
        within("late", took.saturating_sub(WAIT), LATE_MAX)
    })
    .await;
}

#[tokio::test]
async fn a_wait_brings_the_goods_with_their_serial_numbers() {
    let till = Till::embedded(5).await;
    let (payer, page) = till.payer().await;
    let authorization = till.authorise(&page, "").await;
    let path = format!("{}?wait=30s", payer.id);
    let (answer, confirmed) = tokio::join!(
        till.shop.ask(&payer.token, &path),
        till.confirm(&payer, &authorization)
    );
    assert_eq!(confirmed.status, 202, "{confirmed:?}");
    // On a machine that stands still the wait may have run out before: whoever asks again gets the same.
    let settled = till.settled(&payer).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    if answer.body["state"] == "COMPLETED" {
        assert_eq!(answer.body, settled);
    }
    assert_eq!(settled["stage"], "completed", "{settled:#}");
    assert_eq!(settled["message"], "The goods are yours.", "{settled:#}");
    assert!(settled.get("redirect_url").is_none(), "{settled:#}");
    let goods = settled["goods"].as_array().expect("goods");
    assert_eq!(goods.len(), 1, "{settled:#}");
    assert_eq!(goods[0]["product"], "mug", "{settled:#}");
    assert_eq!(goods[0]["price"], json!(10_000), "{settled:#}");
    let serial = goods[0]["serial"].as_str().expect("a serial number");
    assert!(!serial.is_empty(), "{settled:#}");
}
