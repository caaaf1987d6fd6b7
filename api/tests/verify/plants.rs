//! A violation of each invariant, planted past the program, is found by the command, which names it and nothing else.

use std::time::Duration;

use engine::WorkflowId;
use engine::store::{SqlDatabase, Value as Cell};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

use super::scene::{Scene, sql};
use crate::support::http::{get, send};

/// Something that can be planted, and taken away again.
struct Plant {
    /// The only invariant that it violates.
    id: &'static str,
    /// What the command says of it.
    says: String,
    done: Vec<Change>,
    undone: Vec<Change>,
}

/// A statement and its values.
type Change = (&'static str, Vec<Cell>);

impl Plant {
    /// One statement plants it, and one takes it away.
    fn one(id: &'static str, says: impl Into<String>, done: Change, undone: Change) -> Self {
        Self {
            id,
            says: says.into(),
            done: vec![done],
            undone: vec![undone],
        }
    }
}

fn bytes(workflow: WorkflowId) -> Cell {
    Cell::Bytes(workflow.bytes().to_vec())
}

fn id(text: &str) -> WorkflowId {
    WorkflowId::parse(text).expect("an id")
}

/// Where two neighbouring events of a workflow lie in their partition.
async fn places(database: &SqlDatabase, workflow: WorkflowId) -> [i64; 2] {
    let text =
        "SELECT partition_seq FROM events WHERE workflow_id = ? AND seq IN (2, 3) ORDER BY seq";
    let rows = sql(database, text, &[bytes(workflow)]).await;
    let place = |row: usize| rows[row].integer(0).expect("a number");
    [place(0), place(1)]
}

/// What does not add up in a sale.
fn of_the_sale(sale: &str) -> Vec<Plant> {
    vec![
        Plant::one(
            "I1",
            format!("{sale}/mug: 2 sold in the database, 1 goods issued"),
            (
                "UPDATE stock SET sold = sold + 1 WHERE sale = ?",
                vec![sale.into()],
            ),
            (
                "UPDATE stock SET sold = sold - 1 WHERE sale = ?",
                vec![sale.into()],
            ),
        ),
        Plant::one(
            "I2",
            "2 counted as issued, 1 coupons in the database",
            (
                "UPDATE campaigns SET issued = issued + 1 WHERE sale = ?",
                vec![sale.into()],
            ),
            (
                "UPDATE campaigns SET issued = issued - 1 WHERE sale = ?",
                vec![sale.into()],
            ),
        ),
    ]
}

/// What is wrong with workflows.
fn of_workflows(
    done: WorkflowId,
    turned_back: WorkflowId,
    [second, third]: [i64; 2],
) -> Vec<Plant> {
    let partition = Cell::from(i64::from(done.partition().0));
    let ghost = WorkflowId::new(done.partition(), [7; 12]);
    let ident = Cell::Bytes(done.ident().to_vec());
    let moved = |from: i64, to: i64| {
        let text =
            "UPDATE events SET partition_seq = ? WHERE partition_id = ? AND partition_seq = ?";
        (text, vec![to.into(), partition.clone(), from.into()])
    };
    let aside = 1_000_000_000;
    vec![
        Plant::one(
            "I4",
            format!("{done} is parked without a reason"),
            (
                "UPDATE workflows SET status = 'PARKED' WHERE ident = ?",
                vec![ident.clone()],
            ),
            (
                "UPDATE workflows SET status = 'COMPLETED' WHERE ident = ?",
                vec![ident],
            ),
        ),
        Plant {
            id: "I6",
            says: format!("{done}: event 3 was committed before event 2"),
            done: vec![
                moved(second, aside),
                moved(third, second),
                moved(aside, third),
            ],
            undone: vec![
                moved(third, aside),
                moved(second, third),
                moved(aside, second),
            ],
        },
        Plant::one(
            "I7",
            format!(
                "partition {}: its journal was written under epoch",
                done.partition()
            ),
            (
                "UPDATE journals SET epoch = epoch + 7 WHERE partition_id = ?",
                vec![partition.clone()],
            ),
            (
                "UPDATE journals SET epoch = epoch - 7 WHERE partition_id = ?",
                vec![partition.clone()],
            ),
        ),
        Plant::one(
            "I8",
            format!("{ghost}: acknowledged to buyer eve and not found"),
            (
                "INSERT INTO purchases (buyer, created_us, workflow_id) VALUES ('eve', 1, ?)",
                vec![bytes(ghost)],
            ),
            (
                "DELETE FROM purchases WHERE workflow_id = ?",
                vec![bytes(ghost)],
            ),
        ),
        Plant::one(
            "I9",
            format!("{done}: completed, and something was undone"),
            (
                "UPDATE events SET kind = 'compensation-done' WHERE workflow_id = ? AND seq = 2",
                vec![bytes(done)],
            ),
            (
                "UPDATE events SET kind = 'step-done' WHERE workflow_id = ? AND seq = 2",
                vec![bytes(done)],
            ),
        ),
        Plant::one(
            "I10",
            format!("{turned_back}: event"),
            (
                "UPDATE commands SET workflow_id = ? WHERE workflow_id = ?",
                vec![bytes(ghost), bytes(turned_back)],
            ),
            (
                "UPDATE commands SET workflow_id = ? WHERE workflow_id = ?",
                vec![bytes(turned_back), bytes(ghost)],
            ),
        ),
    ]
}

#[tokio::test]
async fn a_violation_of_each_is_found_and_no_other_with_it() {
    let Some(scene) = Scene::on_real_servers().await else {
        return;
    };
    let done = id(&scene.purchase("done").await);
    let turned_back = id(&scene.turned_back("turned-back").await);
    scene.shop.quiet().await;
    scene.shop.verify_in_the_end().await;
    let database = scene.database().await;
    let places = places(&database, done).await;
    let plants = of_the_sale(&scene.shop.sale).into_iter();
    for plant in plants.chain(of_workflows(done, turned_back, places)) {
        for (text, parameters) in &plant.done {
            sql(&database, text, parameters).await;
        }
        found(&scene, plant.id, &plant.says).await;
        for (text, parameters) in &plant.undone {
            sql(&database, text, parameters).await;
        }
        // The reconciler may have followed the database meanwhile, and follows it back.
        scene.shop.verify_in_the_end().await;
    }
    // What follows can't be taken away again.
    say_what_never_happened(&scene, done).await;
    found(
        &scene,
        "I5",
        &format!("{done}: event 99 is on the topic and not in the journal"),
    )
    .await;
}

#[tokio::test]
async fn a_ledger_that_was_tampered_with_is_found_and_nothing_else() {
    let Some(scene) = Scene::on_real_servers().await else {
        return;
    };
    let done = scene.purchase("done").await;
    scene.shop.quiet().await;
    scene.shop.verify_in_the_end().await;
    // Somebody gives money back at the gateway, past the shop.
    let url = format!("{}/v1/payments?order_id={done}", scene.gateway);
    let payments = get(&scene.shop.http, url).await;
    let payment = &payments.body["payments"][0];
    let (name, amount) = (&payment["payment_id"], payment["amount"].as_u64());
    let (name, amount) = (name.as_str().expect("a name"), amount.expect("an amount"));
    let url = format!("{}/v1/payments/{name}/cancel", scene.gateway);
    let request = scene
        .shop
        .http
        .post(url)
        .header("idempotency-key", "past-the-shop");
    let body = json!({ "amount": 1, "expected_rest_amount": amount - 1 });
    let answer = send(request.json(&body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let says = format!("{done}: {amount} captured - 1 refunded, goods for {amount}");
    found(&scene, "I3", &says).await;
}

/// The command ends with 1, and names this and nothing else.
async fn found(scene: &Scene, id: &str, says: &str) {
    let (code, violated) = scene.command().await;
    println!("{id}: {violated:?}");
    match violated.as_slice() {
        [(only, what)] => assert!(only == id && what.contains(says), "{id}, {says}: {what}"),
        other => panic!("{id} and nothing else should be violated: {other:?}"),
    }
    assert_eq!(code, Some(1), "{id}");
}

/// A message about something that is not in the journal.
async fn say_what_never_happened(scene: &Scene, workflow: WorkflowId) {
    let servers = scene.servers.as_ref().expect("servers");
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &servers.kafka_brokers)
        .create()
        .expect("a producer");
    let (key, name) = (workflow.to_string(), format!("{workflow}/99"));
    let header = Header {
        key: "ce_id",
        value: Some(&name),
    };
    let record = FutureRecord::to(&servers.topic)
        .key(&key)
        .payload("{}")
        .headers(OwnedHeaders::new().insert(header));
    let sent = producer.send(record, Duration::from_secs(10)).await;
    sent.expect("it is taken");
}
