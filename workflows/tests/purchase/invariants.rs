//! The checker sees what was sabotaged: each planted violation is reported by its own invariant.

use std::sync::Arc;

use engine::ids::StartKey;
use engine::store::change::ChangeKind;
use engine::store::{Change, Key, SqlDatabase, Table};
use engine::workflow::{By, Event, Record, Refusal};
use engine::{Timestamp, WorkflowId};
use workflows::ports::reservations::Reservations;
use workflows::purchase;
use workflows::reconcile::invariants::{Acknowledged, InvariantReport, Verdict};
use workflows::tables::{
    CAMPAIGNS, COUPONS, GOODS, HOLDS, PURCHASES, SERIAL_CLAIMS, SERIALS, STOCK,
};

use crate::support::{CAMPAIGN, SALE, Shop, attempt, on_both_databases, request, sale_id};

/// A shop in which one purchase with a coupon was completed.
struct Scene {
    shop: Arc<Shop>,
    purchase: WorkflowId,
    acknowledged: Vec<Acknowledged>,
}

impl Scene {
    async fn set(database: SqlDatabase) -> Self {
        let shop = Shop::open(database).await;
        let node = shop.node().await;
        let request = request("ann", &[("mug", 2)], Some(CAMPAIGN));
        let view = node.buy(&request, "k").await.expect("started");
        node.close().await;
        let key = StartKey {
            key_space: purchase::NAME.to_owned(),
            scope: "ann".into(),
            key: "k".into(),
        };
        let acknowledged = vec![Acknowledged {
            key: Some(key),
            workflow: view.id,
        }];
        Self {
            shop: Arc::new(shop),
            purchase: view.id,
            acknowledged,
        }
    }

    async fn sabotage(&self, table: &'static Table, key: Key, kind: ChangeKind) {
        let refusal = Refusal::new("sabotage", "");
        self.shop
            .write(&[Change {
                table,
                key,
                kind,
                refusal,
            }])
            .await
            .expect("sabotaged");
    }

    /// The invariants that do not hold, and the first thing that each of them complains of.
    async fn broken(&self) -> Vec<(&'static str, String)> {
        let reports = self.shop.invariants(&self.acknowledged).await;
        let is_broken = |report: &InvariantReport| report.verdict() == Verdict::Violated;
        let broken = reports.into_iter().filter(is_broken);
        broken
            .map(|InvariantReport { id, violations, .. }| (id, violations[0].clone()))
            .collect()
    }

    #[track_caller]
    fn only<'a>(broken: &'a [(&'static str, String)], id: &str) -> &'a str {
        match broken {
            [(broken, what)] if *broken == id => what,
            other => panic!("{id} and nothing else should be broken: {other:?}"),
        }
    }
}

fn mugs() -> Key {
    vec![SALE.into(), "mug".into()]
}

fn bytes(workflow: WorkflowId) -> engine::store::Value {
    workflow.bytes().as_slice().into()
}

async fn a_sound_shop_breaks_nothing_and_everything_was_looked_at(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    let reports = scene.shop.invariants(&scene.acknowledged).await;
    let seen: Vec<_> = reports
        .iter()
        .map(|report| (report.id, report.violation_count, report.in_flight))
        .collect();
    let ids = ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10"];
    assert_eq!(seen, ids.map(|id| (id, 0, 0)));
    for report in reports {
        // The bus of this node keeps nothing.
        let expected = match report.id {
            "I5" => Verdict::NotChecked,
            _ => Verdict::Holds,
        };
        assert_eq!(report.verdict(), expected, "{report:?}");
        assert!(report.checked > 0 || report.id == "I5", "{report:?}");
    }
}

async fn units_that_are_sold_and_not_issued_are_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    scene
        .sabotage(&STOCK, mugs(), ChangeKind::Add(vec![("sold", 1)]))
        .await;
    let broken = scene.broken().await;
    assert_eq!(
        Scene::only(&broken, "I1"),
        "drop/mug: 3 sold in the database, 2 goods issued"
    );
}

async fn units_that_are_held_by_nobody_are_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    scene
        .sabotage(&STOCK, mugs(), ChangeKind::Add(vec![("held", 1)]))
        .await;
    let broken = scene.broken().await;
    assert_eq!(
        Scene::only(&broken, "I1"),
        "drop/mug: 1 held in the database, 0 units in holds"
    );
}

async fn a_hold_that_nobody_counts_is_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    let key = vec![SALE.into(), bytes(scene.purchase), "cap".into()];
    scene
        .sabotage(
            &HOLDS,
            key,
            ChangeKind::Insert(vec!["eve".into(), 1.into()]),
        )
        .await;
    assert!(Scene::only(&scene.broken().await, "I1").contains("1 units in holds"));
}

async fn a_gate_that_differs_is_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    scene.shop.rebuild_empty().await;
    let broken = scene.broken().await;
    let ids: Vec<_> = broken.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, ["I1", "I2"]);
    scene.shop.faulty.close_gate(&sale_id()).await.unwrap();
    assert!(scene.broken().await[0].1.contains("the gate is closed"));
}

async fn coupons_that_do_not_add_up_are_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    scene
        .sabotage(
            &CAMPAIGNS,
            vec![CAMPAIGN.into()],
            ChangeKind::Add(vec![("issued", 1)]),
        )
        .await;
    assert!(Scene::only(&scene.broken().await, "I2").contains("2 counted as issued, 1 coupons"));
}

async fn two_coupons_of_one_purchase_are_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    let coupon = ChangeKind::Insert(vec![
        bytes(scene.purchase),
        bytes(scene.purchase),
        2.into(),
        1.into(),
    ]);
    scene
        .sabotage(&COUPONS, vec![CAMPAIGN.into(), "eve".into()], coupon)
        .await;
    assert!(Scene::only(&scene.broken().await, "I2").contains("2 coupons by 1 purchases"));
}

async fn a_coupon_that_contradicts_itself_is_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    let nobodys = ChangeKind::Set(vec![("state", 0.into())]);
    scene
        .sabotage(&COUPONS, vec![CAMPAIGN.into(), "ann".into()], nobodys)
        .await;
    let broken = scene.broken().await;
    assert!(
        Scene::only(&broken, "I2").contains("contradict"),
        "{broken:?}"
    );
}

async fn serial_numbers_that_are_taken_for_nothing_are_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    let taken = ChangeKind::Insert(vec![
        "mug".into(),
        bytes(scene.purchase),
        0.into(),
        0.into(),
    ]);
    let key: Key = vec![SALE.into(), "S-1".into()];
    scene.sabotage(&SERIAL_CLAIMS, key.clone(), taken).await;
    assert!(Scene::only(&scene.broken().await, "I1").contains("not in its product's pool"));
    let filled = ChangeKind::Insert(vec!["mug".into()]);
    scene.sabotage(&SERIALS, key, filled).await;
    let broken = scene.broken().await;
    assert!(
        Scene::only(&broken, "I1").contains("gave no goods for it"),
        "{broken:?}"
    );
}

async fn what_was_undone_in_a_completed_purchase_is_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    let undone = ChangeKind::Set(vec![("kind", "compensation-done".into())]);
    scene
        .sabotage(&EVENTS, vec![bytes(scene.purchase), 2.into()], undone)
        .await;
    assert!(Scene::only(&scene.broken().await, "I9").contains("something was undone"));
}

async fn goods_that_nobody_paid_for_are_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    let thief = attempt(66, "goods-issue", 1).workflow;
    let row = vec![bytes(thief), 0.into(), "mug".into(), "eve".into(), 5.into()];
    scene
        .sabotage(
            &GOODS,
            vec![SALE.into(), "STOLEN".into()],
            ChangeKind::Insert(row),
        )
        .await;
    let broken = scene.broken().await;
    let ids: Vec<_> = broken.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, ["I1", "I3"]);
    assert!(
        broken[1].1.contains("0 captured - 0 refunded, goods for 5"),
        "{broken:?}"
    );
}

async fn money_that_was_taken_for_nothing_is_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    let order = scene.purchase.to_string();
    scene
        .shop
        .gateway
        .tamper(&order, |record| record.refunded = 1);
    assert!(
        Scene::only(&scene.broken().await, "I3")
            .contains("1800 captured - 1 refunded, goods for 1800")
    );
    scene
        .shop
        .gateway
        .tamper(&order, |record| record.refunded = 9_999);
    assert!(Scene::only(&scene.broken().await, "I3").contains("9999 refunded of 1800"));
    scene.shop.gateway.tamper(&order, |record| {
        record.refunded = 0;
        record.order_id = "someone else's".into();
    });
    let broken = scene.broken().await;
    assert!(
        Scene::only(&broken, "I3").contains("no purchase of ours"),
        "{broken:?}"
    );
}

async fn a_workflow_that_does_not_rest_is_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    let stuck = ChangeKind::Set(vec![("status", "RUNNING".into())]);
    scene
        .sabotage(
            &WORKFLOWS,
            vec![scene.purchase.ident().as_slice().into()],
            stuck,
        )
        .await;
    assert!(Scene::only(&scene.broken().await, "I4").contains("is RUNNING"));
    let parked = ChangeKind::Set(vec![("status", "PARKED".into()), ("reason", " ".into())]);
    scene
        .sabotage(
            &WORKFLOWS,
            vec![scene.purchase.ident().as_slice().into()],
            parked,
        )
        .await;
    assert!(Scene::only(&scene.broken().await, "I4").contains("without a reason"));
}

async fn a_gap_in_a_journal_is_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    scene
        .sabotage(
            &EVENTS,
            vec![bytes(scene.purchase), 2.into()],
            ChangeKind::Delete,
        )
        .await;
    assert!(Scene::only(&scene.broken().await, "I6").contains("event 3 follows event 1"));
    scene
        .sabotage(
            &EVENTS,
            vec![bytes(scene.purchase), 1.into()],
            ChangeKind::Delete,
        )
        .await;
    assert!(Scene::only(&scene.broken().await, "I6").contains("its first event is number 3"));
}

async fn a_start_that_was_acknowledged_and_lost_is_seen(database: SqlDatabase) {
    let mut scene = Scene::set(database).await;
    let lost = attempt(77, "payment", 1).workflow;
    scene.acknowledged.push(Acknowledged {
        key: None,
        workflow: lost,
    });
    assert!(
        Scene::only(&scene.broken().await, "I8").contains("acknowledged to a client and not found")
    );
    let key = scene.acknowledged[0].key.clone();
    scene.acknowledged[1] = Acknowledged {
        key,
        workflow: lost,
    };
    assert!(Scene::only(&scene.broken().await, "I8").contains("acknowledged as"));
}

async fn a_purchase_that_its_buyer_has_and_nobody_finds_is_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    let lost = attempt(77, "payment", 1).workflow;
    let key = vec!["eve".into(), 1.into(), bytes(lost)];
    scene
        .sabotage(&PURCHASES, key, ChangeKind::Insert(Vec::new()))
        .await;
    let broken = scene.broken().await;
    assert_eq!(
        Scene::only(&broken, "I8"),
        format!("{lost}: acknowledged to buyer eve and not found")
    );
}

async fn a_journal_that_was_written_under_an_epoch_that_never_was_is_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    let partition = i64::from(scene.purchase.partition().0);
    let ahead = ChangeKind::Add(vec![("epoch", 7)]);
    scene
        .sabotage(&JOURNALS, vec![partition.into()], ahead)
        .await;
    let broken = scene.broken().await;
    assert!(
        Scene::only(&broken, "I7").contains("its journal was written under epoch"),
        "{broken:?}"
    );
}

async fn a_row_that_no_fenced_batch_accounts_for_is_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    let partition = i64::from(scene.purchase.partition().0);
    let behind = ChangeKind::Add(vec![("last_seq", -1)]);
    scene
        .sabotage(&JOURNALS, vec![partition.into()], behind)
        .await;
    let broken = scene.broken().await;
    assert!(
        Scene::only(&broken, "I7").contains("its fenced batches end with"),
        "{broken:?}"
    );
}

async fn an_action_that_nobody_did_is_seen(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    let paused = ChangeKind::Set(vec![("kind", "paused".into())]);
    scene
        .sabotage(&EVENTS, vec![bytes(scene.purchase), 2.into()], paused)
        .await;
    let broken = scene.broken().await;
    assert_eq!(
        Scene::only(&broken, "I10"),
        format!(
            "{}: event 2 (paused) has no audit row: nobody did it",
            scene.purchase
        )
    );
}

async fn what_the_engine_turned_back_by_itself_needs_no_audit_row(database: SqlDatabase) {
    let scene = Scene::set(database).await;
    for (actor, is_broken) in [("engine", false), ("engineer", true)] {
        let by = By {
            actor: actor.to_owned(),
            reason: "the start was lost".to_owned(),
        };
        let record = Record::new(2, Timestamp(1), Event::CompensationRequested { by });
        let record = serde_json::to_string(&record).expect("it serialises");
        let turned_back = ChangeKind::Set(vec![
            ("kind", "compensation-requested".into()),
            ("payload", record.as_str().into()),
        ]);
        scene
            .sabotage(&EVENTS, vec![bytes(scene.purchase), 2.into()], turned_back)
            .await;
        let broken = scene.broken().await;
        let is_seen = broken.iter().any(|(id, _)| *id == "I10");
        assert_eq!(is_seen, is_broken, "{actor}: {broken:?}");
    }
}

async fn a_shop_in_which_nothing_happened_proves_nothing(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let reports = shop.invariants(&[]).await;
    let idle: Vec<_> = reports
        .iter()
        .filter(|report| report.verdict() == Verdict::Violated)
        .map(|report| report.id)
        .collect();
    assert_eq!(idle, ["I3", "I4", "I6", "I7", "I8", "I9", "I10"]);
}

/// The engine's tables, as far as they are sabotaged here.
static WORKFLOWS: Table = Table {
    name: "workflows",
    key: &["ident"],
    columns: &["status", "reason"],
};
static JOURNALS: Table = Table {
    name: "journals",
    key: &["partition_id"],
    columns: &["epoch", "last_seq"],
};
static EVENTS: Table = Table {
    name: "events",
    key: &["workflow_id", "seq"],
    columns: &["kind", "payload"],
};

on_both_databases!(
    a_sound_shop_breaks_nothing_and_everything_was_looked_at,
    units_that_are_sold_and_not_issued_are_seen,
    units_that_are_held_by_nobody_are_seen,
    a_hold_that_nobody_counts_is_seen,
    a_gate_that_differs_is_seen,
    coupons_that_do_not_add_up_are_seen,
    two_coupons_of_one_purchase_are_seen,
    a_coupon_that_contradicts_itself_is_seen,
    serial_numbers_that_are_taken_for_nothing_are_seen,
    what_was_undone_in_a_completed_purchase_is_seen,
    goods_that_nobody_paid_for_are_seen,
    money_that_was_taken_for_nothing_is_seen,
    a_workflow_that_does_not_rest_is_seen,
    a_gap_in_a_journal_is_seen,
    a_start_that_was_acknowledged_and_lost_is_seen,
    a_purchase_that_its_buyer_has_and_nobody_finds_is_seen,
    a_journal_that_was_written_under_an_epoch_that_never_was_is_seen,
    a_row_that_no_fenced_batch_accounts_for_is_seen,
    an_action_that_nobody_did_is_seen,
    what_the_engine_turned_back_by_itself_needs_no_audit_row,
    a_shop_in_which_nothing_happened_proves_nothing,
);
