//! `POST /v1/reconcile` and `holdfast reconcile`: does the gate agree with the database, and what is done when it does not.

use std::collections::BTreeMap;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::http::{Answer, answered, client_with, get};
use crate::support::process::{ServeSettings, Server, run};
use crate::support::servers::{Servers, ask_redis};
use crate::support::shop::Shop;
use crate::support::{eventually, unique};

async fn post(server: &Server, body: &Value) -> Answer {
    let url = format!("{}/v1/reconcile", server.operators);
    let client = client_with(&server.operator_token);
    answered(client.post(url).json(body)).await
}

async fn command(server: &Server, arguments: &[&str]) -> Output {
    let variables = [
        ("HOLDFAST_OPERATORS_URL", &server.operators),
        ("HOLDFAST_OPERATOR_TOKEN", &server.operator_token),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.clone()));
    let all = [&["reconcile"], arguments].concat();
    run(&all, &BTreeMap::from(variables)).await
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_shop_in_which_nothing_is_wrong_is_clean_by_the_api_and_by_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "drop", 10, 10).await;
    let (token, id) = shop.bought("k", "tok-good").await;
    shop.settled(&token, &id).await;
    let answer = post(&server, &json!({ "sale": "drop", "repair": true })).await;
    assert_eq!(
        (answer.status, &answer.body["clean"]),
        (200, &json!(true)),
        "{answer:?}"
    );
    assert_eq!(answer.body["found"], 0, "{answer:?}");
    assert!(answer.body["operations"].as_u64() > Some(0), "{answer:?}");
    let output = command(&server, &[]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text_of(&output).ends_with("0 differences, 0 mended, 0 left\n"),
        "{output:?}"
    );
    let output = command(&server, &["--sale", "drop", "-o", "json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (output.status.code(), &report["sales"]),
        (Some(0), &json!(1))
    );
    let url = format!("{}/v1/reconcile", server.operators);
    let shown = get(shop.operators(), url).await;
    assert!(
        shown.body["totals"]["rounds"].as_u64() >= Some(3),
        "{shown:?}"
    );
    assert_eq!(shown.body["last"]["clean"], true, "{shown:?}");
}

#[tokio::test]
async fn what_can_not_be_reconciled_is_refused_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = ServeSettings::embedded(folder.path()).start().await;
    let answer = post(&server, &json!({ "sale": "missing" })).await;
    answer.expect_problem(404, "not-found");
    let answer = post(&server, &json!({ "sale": "Not A Slug" })).await;
    answer.expect_problem(422, "invalid-field");
    let answer = post(&server, &json!({ "sale": "drop", "mend": true })).await;
    assert_eq!(answer.status / 100, 4, "{answer:?}");
    let output = command(&server, &["--sale", "missing"]).await;
    assert_eq!(output.status.code(), Some(6), "{output:?}");
}

#[tokio::test]
async fn a_difference_is_named_the_command_ends_with_1_and_a_repair_mends_it() {
    let Some(servers) = Servers::from_environment() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let server = servers.serve(folder.path()).start().await;
    let sale = unique("drop");
    let shop = Shop::open(&server, &sale, 10, 10).await;
    let (token, id) = shop.bought("k", "tok-good").await;
    shop.settled(&token, &id).await;
    // By itself the server mends it every few seconds: what it mended in between is raised again.
    let output = eventually("a difference", || async {
        raise_available(&servers.redis_url, &sale).await;
        let output = command(&server, &["--sale", &sale]).await;
        (output.status.code() == Some(1)).then_some(output)
    })
    .await;
    let text = text_of(&output);
    assert!(text.contains("counters-do-not-add-up"), "{text}");
    assert!(text.contains("mug") && text.contains("rebuild"), "{text}");
    let output = command(&server, &["--sale", &sale, "--repair"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = command(&server, &["--sale", &sale, "-o", "json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&report["clean"], &report["found"]),
        (&json!(true), &json!(0))
    );
    shop.quiet().await;
    shop.verify().await;
}

/// Five more than there are, past the scripts.
async fn raise_available(redis_url: &str, sale: &str) {
    let key = format!("holdfast:{{{sale}}}:stock");
    ask_redis(redis_url, &format!("HINCRBY {key} mug:available 5")).await;
}
