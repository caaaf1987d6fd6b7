//! What operators see, and what they may do.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::http::{get, send};
use crate::support::process::{ServeSettings, free_port, run};
use crate::support::shop::Shop;

/// Five purchases, the first of which is declined: their ids.
async fn five_purchases(shop: &Shop) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..5 {
        let (card, expected) = match number {
            0 => ("tok-declined", "COMPENSATED"),
            _ => ("tok-good", "COMPLETED"),
        };
        let (token, id) = shop.bought("k", card).await;
        assert_eq!(shop.settled(&token, &id).await["state"], expected);
        ids.push(id);
    }
    ids
}

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let ids = five_purchases(&shop).await;
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(all_pages(&shop, "").await, newest_first);
    assert_eq!(all_pages(&shop, "&definition=purchase").await, newest_first);
    assert_eq!(all_pages(&shop, "&state=COMPENSATED").await, ids[..1]);
    let nothing = all_pages(&shop, "&definition=another").await;
    assert_eq!(nothing, Vec::<String>::new());
}

#[tokio::test]
async fn a_workflow_is_shown_with_its_steps_its_journal_and_its_diagram_but_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let (token, id) = shop.bought("k", "tok-declined").await;
    shop.settled(&token, &id).await;
    let operators = &shop.operators;

    let shown = get(&shop.http, format!("{operators}/v1/workflows/{id}"))
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
        &shop.http,
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
        let diagram = get(&shop.http, format!("{operators}/v1/{path}")).await;
        assert!(diagram.text.starts_with("flowchart LR"), "{diagram:?}");
        assert!(diagram.text.contains("goods-issue"), "{diagram:?}");
        assert!(
            diagram.content_type.starts_with("text/vnd.mermaid"),
            "{diagram:?}"
        );
    }
    for path in ["livez", "readyz"] {
        assert_eq!(
            get(&shop.http, format!("{operators}/{path}")).await.status,
            200
        );
    }
}

/// The ids on all pages of two, in order.
async fn all_pages(shop: &Shop, filter: &str) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let url = format!("{}/v1/workflows?limit=2{filter}{cursor}", shop.operators);
        let page = get(&shop.http, url).await;
        assert_eq!(page.status, 200, "{page:?}");
        let workflows = page.body["workflows"].as_array().expect("a list");
        assert!(workflows.len() <= 2, "{page:?}");
        ids.extend(
            workflows
                .iter()
                .map(|workflow| workflow["id"].as_str().expect("an id").to_owned()),
        );
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let (token, id) = shop.bought("k", "tok-good").await;
    shop.settled(&token, &id).await;
    let operate = |verb: &str, id: &str, body: Value| {
        send(
            shop.http
                .post(format!("{}/v1/workflows/{id}/{verb}", shop.operators))
                .json(&body),
        )
    };
    let order = json!({ "actor": "alice", "reason": "a test" });
    for verb in ["retry", "compensate"] {
        let refused = operate(verb, &id, order.clone()).await;
        println!("{verb}: {}", refused.text);
        refused.expect_problem(409, "conflict");
        operate(verb, "00000001-0000-8000-8000-000000000000", order.clone())
            .await
            .expect_problem(404, "not-found");
        let nameless = operate(verb, &id, json!({ "actor": " ", "reason": "a test" })).await;
        nameless.expect_problem(422, "invalid-field");
        assert_eq!(nameless.body["field"], "actor");
        operate(verb, &id, json!({ "reason": "a test" }))
            .await
            .expect_problem(422, "invalid-field");
    }
}

#[tokio::test]
async fn a_purchase_whose_gateway_is_gone_waits_and_goes_on_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let ledger = folder.path().join("ledger").display().to_string();
    let listen = format!("127.0.0.1:{port}");
    let gateway = ["pg-sim", "--listen", &listen, "--ledger", &ledger];
    let settings = ServeSettings::embedded(&folder.path().join("data"))
        .with("PG_URL", format!("http://{listen}"));
    let server = settings.start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let (token, id) = shop.bought("k", "tok-good").await;
    let url = format!("{}/v1/workflows/{id}", shop.operators);
    eventually("a failed attempt to be recorded", || async {
        let shown = get(&shop.http, url.clone()).await.body;
        let payment = shown["steps"]
            .as_array()?
            .iter()
            .find(|step| step["name"] == "payment")?
            .clone();
        payment["last_error"]["message"].as_str().map(str::to_owned)
    })
    .await;
    let command = crate::support::process::holdfast(&gateway, &BTreeMap::new());
    let mut gateway = crate::support::process::Running::start(command);
    gateway
        .line("the simulated payment gateway listens on")
        .await;
    let settled = shop.settled(&token, &id).await;
    assert_eq!(settled["state"], "COMPLETED", "{settled}");
    shop.quiet().await;
    shop.verify().await;
}

#[tokio::test]
async fn the_command_line_lists_shows_and_refuses_as_the_api_does() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let (token, id) = shop.bought("k", "tok-good").await;
    shop.settled(&token, &id).await;
    let environment =
        BTreeMap::from([("HOLDFAST_OPERATORS_URL".to_owned(), shop.operators.clone())]);
    let workflows = |arguments: &'static [&'static str], id: &str| {
        let arguments: Vec<String> = ["workflows"]
            .iter()
            .chain(arguments)
            .map(|text| text.replace("ID", id))
            .collect();
        let environment = environment.clone();
        async move {
            run(
                &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
                &environment,
            )
            .await
        }
    };
    let listed = workflows(&["list", "-o", "json"], &id).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["workflows"][0]["id"], id.as_str(), "{listed}");
    let shown = workflows(&["show", "ID"], &id).await;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        text.contains("goods-issue") && text.contains("COMPLETED"),
        "{text}"
    );
    let refused = workflows(
        &["retry", "ID", "--actor", "alice", "--reason", "a test"],
        &id,
    )
    .await;
    assert_eq!(refused.status.code(), Some(6), "{refused:?}");
    assert!(!refused.stderr.is_empty());
    let gone = BTreeMap::from([(
        "HOLDFAST_OPERATORS_URL".to_owned(),
        "http://127.0.0.1:1".to_owned(),
    )]);
    let unreachable = run(&["workflows", "list"], &gone).await;
    assert_eq!(unreachable.status.code(), Some(3), "{unreachable:?}");
}
