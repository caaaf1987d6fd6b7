//! One order to many: "wake all that are parked on this error", from the preview to the last result, and a stop in the middle.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::desk::Desk;
use crate::support::eventually;
use crate::support::http::answered;
use crate::support::rounds::kept_in_one_round;

/// The batch, once all its commands are answered and it does not run any more.
async fn over(desk: &Desk, id: u64) -> Value {
    eventually("the batch to be over", || async {
        let batch = desk.look(&format!("batches/{id}")).await;
        (batch["state"] != "RUNNING" && batch["progress"]["pending"] == 0).then_some(batch)
    })
    .await
}

/// What became of each workflow of a batch.
async fn results(desk: &Desk, id: u64) -> Vec<Value> {
    let listed = desk.look(&format!("batches/{id}/commands")).await;
    listed["commands"].as_array().expect("a list").clone()
}

fn workflows(rows: &[Value]) -> BTreeSet<String> {
    let ids = rows.iter().map(|row| row["workflow"].as_str());
    ids.map(|id| id.expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn all_that_are_parked_on_an_error_are_woken_by_one_batch() {
    all_are_woken(&Desk::open().await).await;
}

#[tokio::test]
async fn all_that_are_parked_on_an_error_are_woken_by_one_batch_on_real_servers() {
    if let Some(desk) = Desk::on_real_servers().await {
        all_are_woken(&desk).await;
    }
}

async fn all_are_woken(desk: &Desk) {
    let parked = desk.all_parked(4).await;
    let errors = desk.look("errors").await;
    assert_eq!(errors["errors"][0]["count"], 4, "{errors}");
    let wake =
        json!({ "verb": "retry", "filter": errors["errors"][0]["filter"], "per_second": 100 });

    let preview = desk.batch("?dry_run=true", &desk.key(), &wake).await;
    assert_eq!(preview.status, 200, "{preview:?}");
    assert_eq!(preview.body["count"], 4, "{preview:?}");
    assert_eq!(preview.body["more"], false, "{preview:?}");
    let sample = preview.body["sample"].as_array().expect("a sample");
    assert_eq!(sample.len(), 4, "{preview:?}");
    for one in sample {
        assert_eq!(one["would"]["state"], "RUNNING", "{preview:?}");
        assert_eq!(one["would"]["event"]["type"], "retry-requested");
    }
    assert_eq!(desk.look("batches").await["batches"], json!([]));

    desk.gateway_fails(0).await;
    let started = desk.batch("", "wake-them", &wake).await;
    assert_eq!(started.status, 201, "{started:?}");
    let id = started.body["id"].as_u64().expect("a number");
    assert_eq!(started.location, Some(format!("/v1/batches/{id}")));
    let batch = over(desk, id).await;
    assert_eq!(batch["state"], "FINISHED", "{batch}");
    assert_eq!(batch["submitted"], 4, "{batch}");
    assert_eq!(
        batch["progress"],
        json!({ "pending": 0, "done": 4, "refused": 0 })
    );
    for id in &parked {
        desk.in_state(id, "COMPLETED").await;
    }
    let rows = results(desk, id).await;
    assert_eq!(workflows(&rows), parked.iter().cloned().collect());
    for row in &rows {
        assert_eq!(
            [&row["state"], &row["verb"], &row["actor"]],
            ["DONE", "retry", "alice"]
        );
        assert_eq!(row["batch"], id, "{row}");
    }

    let again = desk.batch("", "wake-them", &wake).await;
    assert_eq!(
        (again.status, &again.body["id"]),
        (200, &json!(id)),
        "{again:?}"
    );
    let other = json!({ "verb": "abandon", "filter": wake["filter"] });
    desk.batch("", "wake-them", &other)
        .await
        .expect_problem(422, "idempotency-key-reused");
    let listed = desk.look("batches").await;
    assert_eq!(
        listed["batches"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
    desk.shop.quiet().await;
    desk.shop.verify().await;
}

#[tokio::test]
async fn a_batch_that_is_stopped_in_the_middle_tells_nobody_else() {
    let desk = Desk::open().await;
    kept_in_one_round("a stop in the middle", async |_| is_stopped(&desk).await).await;
}

async fn is_stopped(desk: &Desk) -> Result<(), String> {
    let parked = desk.all_parked(4).await;
    let abandon = json!({
        "verb": "abandon", "filter": { "state": "PARKED", "step": "payment" }, "per_second": 1,
    });
    let started = desk.batch("", &desk.key(), &abandon).await;
    let id = started.body["id"].as_u64().expect("a number");
    eventually("the first workflow to be told", || async {
        let batch = desk.look(&format!("batches/{id}")).await;
        (batch["submitted"].as_u64() > Some(0)).then_some(())
    })
    .await;
    let url = format!("{}/v1/batches/{id}/stop", desk.shop.operators);
    let stopped = answered(desk.shop.operators().post(&url)).await;
    assert_eq!(stopped.status, 200, "{stopped:?}");
    let batch = over(desk, id).await;
    let told = workflows(&results(desk, id).await);
    if told.len() == parked.len() {
        return Err(format!("all were told before the stop: {stopped:?}"));
    }
    assert_eq!(stopped.body["state"], "STOPPED", "{stopped:?}");
    assert!(!told.is_empty(), "{batch}");
    for workflow in &parked {
        let expected = if told.contains(workflow) {
            "ABANDONED"
        } else {
            "PARKED"
        };
        assert_eq!(desk.workflow(workflow).await["state"], expected, "{batch}");
    }
    // A stop that comes again, or too late, changes nothing.
    let again = answered(desk.shop.operators().post(&url)).await;
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!(again.body["state"], "STOPPED", "{again:?}");
    Ok(())
}

#[tokio::test]
async fn each_workflow_of_a_batch_answers_for_itself() {
    let desk = Desk::open().await;
    let (parked, paused) = (desk.parked().await, desk.stuck().await);
    assert_eq!(desk.tell(&paused, "pause").await.status, 200);
    desk.in_state(&paused, "PARKED").await;
    let resume = json!({ "verb": "resume", "filter": { "state": "PARKED" }, "per_second": 100 });
    let preview = desk.batch("?dry_run=true", &desk.key(), &resume).await;
    let sample = preview.body["sample"].as_array().expect("a sample").clone();
    let why = |id: &str| {
        let mut sample = sample.iter();
        let found = sample.find(|one| one["workflow"]["id"] == id);
        found.expect("in the sample")["would_be_refused_because"].clone()
    };
    assert_eq!(why(&paused), Value::Null);
    assert!(
        why(&parked)
            .as_str()
            .expect("a reason")
            .contains("not paused")
    );
    let started = desk.batch("", &desk.key(), &resume).await;
    let id = started.body["id"].as_u64().expect("a number");
    let batch = over(&desk, id).await;
    assert_eq!(batch["progress"]["done"], 1, "{batch}");
    let rows = results(&desk, id).await;
    let of = |workflow: &str| rows.iter().find(|row| row["workflow"] == workflow);
    assert_eq!(of(&paused).expect("a result")["state"], "DONE", "{rows:?}");
    if let Some(refused) = of(&parked) {
        assert_eq!(refused["state"], "REFUSED", "{rows:?}");
        let why = refused["refused_because"].as_str().expect("a reason");
        assert!(why.contains("not paused"), "{why}");
    }
    println!("{batch}\n{rows:?}");
}
