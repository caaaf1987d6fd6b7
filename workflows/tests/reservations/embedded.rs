//! What is particular to the embedded adapter: its incarnation, its thread, many callers at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use workflows::adapters::embedded::EmbeddedReservations;
use workflows::ports::reservations::{
    ReservationError, Reservations, ReserveReply, ReserveRequest, SaleSnapshot,
};

use crate::harness::{NOW_MS, product, reserve_request, small_sale};

fn embedded() -> EmbeddedReservations {
    EmbeddedReservations::new("run-1", Arc::new(|| NOW_MS * 1_000)).unwrap()
}

fn one_tee(name: &str, who: &str) -> ReserveRequest {
    reserve_request(&small_sale().sale, name, who, &[("tee", 1)])
}

#[tokio::test]
async fn it_serves_only_when_attached_to_its_own_incarnation() {
    let reservations = embedded();
    reservations.rebuild(&small_sale()).await.unwrap();
    let refused = reservations.reserve(&one_tee("w1", "ann")).await;
    assert!(
        matches!(refused, Err(ReservationError::OtherIncarnation(_))),
        "{refused:?}"
    );
    let refused = reservations.attach_checked("run-0").await;
    assert!(
        matches!(refused, Err(ReservationError::OtherIncarnation(_))),
        "{refused:?}"
    );
    assert_eq!(reservations.attach().await.unwrap(), "run-1");
    assert_eq!(
        reservations.reserve(&one_tee("w1", "ann")).await.unwrap(),
        ReserveReply::Held
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_buyers_gets_exactly_what_there_is() {
    let reservations = Arc::new(embedded());
    let snapshot = SaleSnapshot {
        per_buyer_limit: 1,
        ..small_sale()
    };
    reservations.rebuild(&snapshot).await.unwrap();
    reservations.attach().await.unwrap();
    let mut buyers = tokio::task::JoinSet::new();
    for index in 0..1_000 {
        let reservations = Arc::clone(&reservations);
        buyers.spawn(async move {
            let request = one_tee(&format!("w{index}"), &format!("b{index}"));
            reservations.reserve(&request).await.unwrap() == ReserveReply::Held
        });
    }
    let winners = buyers
        .join_all()
        .await
        .into_iter()
        .filter(|&held| held)
        .count();
    assert_eq!(winners, 10);
    let counts = reservations.counts(&snapshot.sale).await.unwrap().unwrap();
    assert_eq!(counts.products[&product("tee")].available, 0);
}

#[tokio::test]
async fn its_thread_ends_when_it_is_dropped() {
    let ticks = Arc::new(AtomicUsize::new(0));
    let held_by_thread = Arc::clone(&ticks);
    let clock = move || {
        held_by_thread.fetch_add(1, Ordering::Relaxed);
        NOW_MS * 1_000
    };
    let reservations = EmbeddedReservations::new("run-1", Arc::new(clock)).unwrap();
    reservations.rebuild(&small_sale()).await.unwrap();
    reservations.attach().await.unwrap();
    reservations.reserve(&one_tee("w1", "ann")).await.unwrap();
    assert!(ticks.load(Ordering::Relaxed) > 0);
    drop(reservations);
    assert_eq!(
        Arc::strong_count(&ticks),
        1,
        "the thread and all it owned are gone"
    );
}
