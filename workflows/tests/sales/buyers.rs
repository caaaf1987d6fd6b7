//! What the catalogue shows a buyer: own coupons and own purchases, from the rows that workflows write.

use engine::store::change::ChangeKind;
use engine::store::{Change, SqlDatabase, Table, Value};
use engine::workflow::Refusal;
use engine::{PartitionId, Runtime, Timestamp, WorkflowId};
use workflows::domain::ids::BuyerId;
use workflows::ports::catalogue::{Catalogue as _, CouponState};
use workflows::tables::{COUPONS, PURCHASES};

use crate::support::{catalogue, on_both_databases};

fn workflow(number: u8) -> WorkflowId {
    WorkflowId::new(PartitionId(1), [number; 12])
}

fn id(number: u8) -> Value {
    workflow(number).bytes().as_slice().into()
}

fn row(table: &'static Table, key: Vec<Value>, values: Vec<Value>) -> Change {
    Change {
        table,
        key,
        kind: ChangeKind::Insert(values),
        refusal: Refusal::new("no", "No."),
    }
}

fn buyer(name: &str) -> BuyerId {
    BuyerId::parse(name).unwrap()
}

async fn a_buyer_sees_own_coupons_by_campaign(database: SqlDatabase) {
    let coupon = |campaign: &str, buyer: &str, purchase: Value, state: CouponState| {
        let values = vec![id(1), purchase, state.number().into(), 7.into()];
        row(&COUPONS, vec![campaign.into(), buyer.into()], values)
    };
    let rows = [
        coupon("c", "ann", id(2), CouponState::Reserved),
        coupon("a", "ann", Value::Null, CouponState::Issued),
        coupon("b", "ann", id(3), CouponState::Used),
        coupon("a", "bob", Value::Null, CouponState::Issued),
    ];
    database.transact("a test", &rows).await.unwrap();
    let catalogue = catalogue(&database, &Runtime::system());
    let coupons = catalogue.coupons_of(&buyer("ann")).await.unwrap();
    let seen: Vec<_> = coupons
        .iter()
        .map(|coupon| (coupon.campaign.as_str(), coupon.state, coupon.purchase))
        .collect();
    assert_eq!(
        seen,
        [
            ("a", CouponState::Issued, None),
            ("b", CouponState::Used, Some(workflow(3))),
            ("c", CouponState::Reserved, Some(workflow(2))),
        ]
    );
    assert_eq!(
        (coupons[0].claimed_by, coupons[0].claimed_at),
        (workflow(1), Timestamp(7))
    );
    assert!(
        catalogue
            .coupons_of(&buyer("eve"))
            .await
            .unwrap()
            .is_empty()
    );
}

async fn purchases_come_newest_first_a_page_at_a_time_each_once(database: SqlDatabase) {
    // Several of one instant: the workflow decides.
    let made = [(5, 1), (5, 2), (5, 3), (9, 4), (1, 5)];
    let mut rows: Vec<Change> = made
        .iter()
        .map(|(at, number)| {
            let key = vec!["ann".into(), i64::from(*at).into(), id(*number)];
            row(&PURCHASES, key, Vec::new())
        })
        .collect();
    rows.push(row(
        &PURCHASES,
        vec!["bob".into(), 7.into(), id(6)],
        Vec::new(),
    ));
    database.transact("a test", &rows).await.unwrap();
    let catalogue = catalogue(&database, &Runtime::system());
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = catalogue
            .purchases_of(&buyer("ann"), after, 2)
            .await
            .unwrap();
        after = page.last().copied();
        seen.extend(page.iter().map(|purchase| purchase.workflow));
        if page.len() < 2 {
            break;
        }
    }
    assert_eq!(seen, [4, 3, 2, 1, 5].map(workflow));
}

on_both_databases!(
    a_buyer_sees_own_coupons_by_campaign,
    purchases_come_newest_first_a_page_at_a_time_each_once,
);
