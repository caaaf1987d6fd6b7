//! What operators see, and what they may do.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::http::{get, send};
use crate::support::process::{ServeSettings, free_port, run};
use crate::support::shop::Shop;

#[tokio::test]
async fn lists_are_paged_and_filtered_and_one_workflow_is_shown_whole() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let token = shop.token().await;
        let card = if number == 0 {
            "tok-declined"
        } else {
            "tok-good"
        };
        let id = shop.buy(&token, "k", &shop.order(card)).await.body["id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let settled = shop.settled(&token, &id).await;
        let expected = if number == 0 {
            "COMPENSATED"
        } else {
            "COMPLETED"
        };
        assert_eq!(settled["state"], expected, "{settled}");
        ids.push(id);
    }
    assert_eq!(
        all_pages(&shop, "").await,
        ids.iter().rev().cloned().collect::<Vec<_>>()
    );
    assert_eq!(
        all_pages(&shop, "&state=COMPENSATED").await,
        [ids[0].clone()]
    );
    assert_eq!(all_pages(&shop, "&definition=purchase").await.len(), 5);
    assert_eq!(
        all_pages(&shop, "&definition=another").await,
        Vec::<String>::new()
    );

    let declined = get(
        &shop.http,
        format!("{}/v1/workflows/{}", shop.operators, ids[0]),
    )
    .await
    .body;
    assert_eq!(declined["reason"], "payment-declined", "{declined}");
    let step = |name: &str| {
        let steps = declined["steps"].as_array().expect("steps");
        steps
            .iter()
            .find(|step| step["name"] == name)
            .expect("the step")
            .clone()
    };
    assert_eq!(
        step("stock-reserve")["compensation"]["state"],
        "done",
        "{declined}"
    );
    assert_eq!(
        step("payment")["last_error"]["code"],
        "payment-declined",
        "{declined}"
    );
    assert!(
        !declined.to_string().contains("tok-declined"),
        "the payment token is shown: {declined}"
    );

    let journal = get(
        &shop.http,
        format!("{}/v1/workflows/{}/events?limit=2", shop.operators, ids[1]),
    )
    .await
    .body;
    assert_eq!(
        journal["events"].as_array().map(Vec::len),
        Some(2),
        "{journal}"
    );
    assert_eq!(journal["events"][0]["type"], "started");
    assert_eq!(journal["next_after"], 2);
    assert!(
        !journal.to_string().contains("tok-good"),
        "the payment token is shown: {journal}"
    );
    for path in [
        format!("workflows/{}/diagram", ids[0]),
        "definitions/purchase/diagram".to_owned(),
    ] {
        let diagram = get(&shop.http, format!("{}/v1/{path}", shop.operators)).await;
        assert!(
            diagram.text.starts_with("flowchart LR") && diagram.text.contains("goods-issue"),
            "{diagram:?}"
        );
        assert!(
            diagram.content_type.starts_with("text/vnd.mermaid"),
            "{diagram:?}"
        );
    }
    for path in ["livez", "readyz"] {
        assert_eq!(
            get(&shop.http, format!("{}/{path}", shop.operators))
                .await
                .status,
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
    let token = shop.token().await;
    let id = shop.buy(&token, "k", &shop.order("tok-good")).await.body["id"]
        .as_str()
        .expect("an id")
        .to_owned();
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
    let token = shop.token().await;
    let id = shop.buy(&token, "k", &shop.order("tok-good")).await.body["id"]
        .as_str()
        .expect("an id")
        .to_owned();
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
    let token = shop.token().await;
    let id = shop.buy(&token, "k", &shop.order("tok-good")).await.body["id"]
        .as_str()
        .expect("an id")
        .to_owned();
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
