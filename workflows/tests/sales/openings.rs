//! The opening saga on a node whose clock is set by hand, in a database on disk: nothing here but the journal remembers an opening.

use std::time::Duration;

use engine::Runtime;
use engine::store::SqlDatabase;
use workflows::opening::Openings;
use workflows::ports::catalogue::{Catalogue as _, ScheduleChange};

use crate::support::{HandClock, Node, eventually, on_both_databases, sale_id, second, seed};

fn change(revision: u32, opens: i64, closes: i64, is_cancelled: bool) -> ScheduleChange {
    ScheduleChange {
        sale: sale_id("drop"),
        revision,
        opens_at: second(opens),
        closes_at: second(closes),
        is_cancelled,
    }
}

/// A sale `drop` whose opening waits for second 100, on a node by this clock, which stands at second 0.
async fn waiting(database: &SqlDatabase) -> (HandClock, Node) {
    let clock = HandClock::at(second(0));
    let node = Node::by(database, clock.clone()).await;
    node.seeded(&[seed("drop", second(100), second(200))]).await;
    (clock, node)
}

// No key that expires, no store but the database: the node of this test has no Redis at all.
async fn opening_does_not_depend_on_keyspace_notifications(database: SqlDatabase) {
    let (clock, node) = waiting(&database).await;
    clock.set(second(99));
    node.waits("drop", 1).await;
    assert_eq!(node.recorded("drop").await, (None, None));
    clock.set(second(100));
    assert_eq!(node.opened("drop").await, second(100));
    clock.set(second(200));
    node.completed("drop", 1).await;
    assert_eq!(
        node.recorded("drop").await,
        (Some(second(100)), Some(second(200)))
    );
}

async fn a_sale_that_is_seeded_late_opens_at_once_and_says_how_late(database: SqlDatabase) {
    let clock = HandClock::at(second(130));
    let node = Node::by(&database, clock).await;
    node.seeded(&[seed("drop", second(100), second(200))]).await;
    assert_eq!(node.opened("drop").await, second(130));
    let id = node.opening("drop", 1).await.unwrap();
    let records = node.engine.records(id, 0, 100).await.unwrap();
    let text = format!("{records:?}");
    assert!(
        text.contains(r#""late_us":30000000"#) || text.contains(r#"\"late_us\":30000000"#),
        "{text}"
    );
}

async fn a_rescheduled_sale_opens_once_at_the_new_time(database: SqlDatabase) {
    let (clock, node) = waiting(&database).await;
    let later = node.catalogue.reschedule(&change(1, 150, 250, false)).await;
    node.openings.changed(&later.unwrap()).await.unwrap();
    // The opening of the first schedule was told, and is over; the second one waits.
    node.completed("drop", 1).await;
    node.waits("drop", 2).await;
    clock.set(second(149));
    node.waits("drop", 2).await;
    assert_eq!(node.recorded("drop").await, (None, None));
    clock.set(second(150));
    assert_eq!(node.opened("drop").await, second(150));
    // Another closing does not open it again.
    let longer = node.catalogue.reschedule(&change(2, 150, 300, false)).await;
    clock.set(second(160));
    node.openings.changed(&longer.unwrap()).await.unwrap();
    node.completed("drop", 2).await;
    node.waits("drop", 3).await;
    clock.set(second(300));
    node.completed("drop", 3).await;
    assert_eq!(
        node.recorded("drop").await,
        (Some(second(150)), Some(second(300)))
    );
}

async fn a_schedule_that_moves_forward_opens_before_its_old_time(database: SqlDatabase) {
    let (clock, node) = waiting(&database).await;
    let sooner = node.catalogue.reschedule(&change(1, 50, 60, false)).await;
    node.openings.changed(&sooner.unwrap()).await.unwrap();
    clock.set(second(60));
    node.completed("drop", 2).await;
    let (opened, closed) = node.recorded("drop").await;
    assert_eq!((opened, closed), (Some(second(60)), Some(second(60))));
}

async fn a_cancelled_sale_never_opens(database: SqlDatabase) {
    let (clock, node) = waiting(&database).await;
    let cancelled = node.catalogue.reschedule(&change(1, 100, 200, true)).await;
    node.openings.changed(&cancelled.unwrap()).await.unwrap();
    node.completed("drop", 1).await;
    clock.set(second(1_000));
    node.openings.ensure().await.unwrap();
    assert_eq!(node.opening("drop", 2).await, None);
    assert_eq!(node.recorded("drop").await, (None, None));
}

// The node that changed the schedule died before it told anybody.
async fn an_opening_that_nobody_told_finds_out_by_itself(database: SqlDatabase) {
    let (clock, node) = waiting(&database).await;
    let cancelled = node.catalogue.reschedule(&change(1, 100, 200, true)).await;
    assert!(cancelled.unwrap().is_cancelled);
    clock.set(second(200));
    node.completed("drop", 1).await;
    assert_eq!(node.recorded("drop").await, (None, None));
}

// The node that seeded died before it started anything.
async fn every_schedule_gets_its_opening_once_whoever_looks(database: SqlDatabase) {
    let clock = HandClock::at(second(0));
    let node = Node::by(&database, clock).await;
    let seeds: Vec<_> = (0..20)
        .map(|number| seed(&format!("drop-{number}"), second(100), second(200)))
        .collect();
    node.catalogue.seed_all(&seeds).await.unwrap();
    let others: Vec<Openings> = (0..4)
        .map(|_| Openings::start(node.engine.clone(), database.clone()))
        .collect();
    let looks = others.iter().map(Openings::ensure);
    for started in futures_util::future::join_all(looks).await {
        started.unwrap();
    }
    let all = engine::store::ListFilter {
        definition: Some("opening".to_owned()),
        limit: 500,
        ..engine::store::ListFilter::default()
    };
    let page = node.engine.list(&all).await.unwrap();
    assert_eq!(page.items.len(), 20);
    assert_eq!(others[0].ensure().await.unwrap(), 0, "it remembers");
}

async fn opening_survives_its_owners_death(database: SqlDatabase) {
    let opens_at = Runtime::system().now().after(Duration::from_secs(5));
    let closes_at = opens_at.after(Duration::from_hours(1));
    let first = Node::real(&database, "first").await;
    first.seeded(&[seed("drop", opens_at, closes_at)]).await;
    first.dies(&database).await;
    let second = Node::real(&database, "second").await;
    eventually(
        "the other node to take it over and open the sale",
        async || second.recorded("drop").await.0.is_some(),
    )
    .await;
    let (opened, closed) = second.recorded("drop").await;
    assert!(opened.unwrap() >= opens_at);
    assert_eq!(closed, None);
    second.waits("drop", 1).await;
}

on_both_databases!(
    opening_does_not_depend_on_keyspace_notifications,
    a_sale_that_is_seeded_late_opens_at_once_and_says_how_late,
    a_rescheduled_sale_opens_once_at_the_new_time,
    a_schedule_that_moves_forward_opens_before_its_old_time,
    a_cancelled_sale_never_opens,
    an_opening_that_nobody_told_finds_out_by_itself,
    every_schedule_gets_its_opening_once_whoever_looks,
    opening_survives_its_owners_death,
);
