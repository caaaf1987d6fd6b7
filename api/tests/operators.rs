//! What operators see, and what they may do.

mod bad_orders;
mod batches;
mod commands;
pub mod desk;
mod lists;
mod terminal;
mod verbs;

use crate::support::eventually;
use crate::support::gateway::silent_gateway_at;
use crate::support::http::get;
use crate::support::process::{ServeSettings, free_port};
use crate::support::shop::Shop;

#[tokio::test]
async fn a_workflow_is_shown_with_its_steps_its_journal_and_its_diagram_but_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let (token, id) = shop.bought("k", "tok-declined").await;
    shop.settled(&token, &id).await;
    let operators = &shop.operators;

    let shown = get(shop.operators(), format!("{operators}/v1/workflows/{id}"))
        .await
        .body;
    assert_eq!(shown["reason"], "payment-declined", "{shown}");
    let step = |name: &str| {
        let mut steps = shown["steps"].as_array().expect("steps").iter();
        steps
            .find(|step| step["name"] == name)
            .expect("the step")
            .clone()
    };
    assert_eq!(step("stock-reserve")["compensation"]["state"], "done");
    assert_eq!(step("payment")["last_error"]["code"], "payment-declined");

    let journal = get(
        shop.operators(),
        format!("{operators}/v1/workflows/{id}/events?limit=2"),
    )
    .await;
    let events = journal.body["events"].as_array().expect("events");
    assert_eq!(events.len(), 2, "{journal:?}");
    assert_eq!(events[0]["type"], "started");
    assert_eq!(journal.body["next_after"], 2);

    for text in [shown.to_string(), journal.text] {
        assert!(
            !text.contains("tok-declined"),
            "the payment token is shown: {text}"
        );
    }
    for path in [
        format!("workflows/{id}/diagram"),
        "definitions/purchase/diagram".to_owned(),
    ] {
        let diagram = get(shop.operators(), format!("{operators}/v1/{path}")).await;
        assert!(diagram.text.starts_with("flowchart LR"), "{diagram:?}");
        assert!(diagram.text.contains("goods-issue"), "{diagram:?}");
        assert!(
            diagram.content_type.starts_with("text/vnd.mermaid"),
            "{diagram:?}"
        );
    }
    for path in ["livez", "readyz"] {
        assert_eq!(
            get(shop.operators(), format!("{operators}/{path}"))
                .await
                .status,
            200
        );
    }
}

#[tokio::test]
async fn a_purchase_whose_gateway_is_gone_waits_and_goes_on_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let settings = ServeSettings::embedded(&folder.path().join("data"))
        .with("PG_URL", format!("http://{listen}"));
    let server = settings.start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let (token, id) = shop.bought("k", "tok-good").await;
    let url = format!("{}/v1/workflows/{id}", shop.operators);
    eventually("a failed attempt to be recorded", || async {
        let shown = get(shop.operators(), url.clone()).await.body;
        let payment = shown["steps"]
            .as_array()?
            .iter()
            .find(|step| step["name"] == "payment")?
            .clone();
        payment["last_error"]["message"].as_str().map(str::to_owned)
    })
    .await;
    let (_gateway, _) = silent_gateway_at(folder.path(), &listen).await;
    let settled = shop.settled(&token, &id).await;
    assert_eq!(settled["state"], "COMPLETED", "{settled}");
    shop.quiet().await;
    shop.verify().await;
}
