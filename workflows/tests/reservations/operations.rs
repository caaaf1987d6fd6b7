//! What an operation is kept with: its epoch, its hold's state; and reading all of them page by page.

use std::collections::BTreeSet;

use workflows::ports::reservations::{
    ClaimRequest, ExtendReply, HoldState, OperationState, ReleaseReply, ReleaseRequest,
    ReserveReply, ReserveRequest, SaleSnapshot, StoredOperation,
};

use crate::harness::{Failure, Pair, buyer, lines, operation, small_sale};
use crate::outcomes::{has_coupon, misuse, stock};

async fn stored(pair: &Pair, name: &str) -> StoredOperation {
    let page = pair.operations().await.unwrap();
    let mut operations = page.operations.into_iter();
    let found = operations.find(|stored| stored.operation == operation(name));
    found.unwrap()
}

fn anns_tee(hold: HoldState) -> OperationState {
    OperationState::Holds {
        buyer: buyer("ann"),
        lines: lines(&[("tee", 1), ("cap", 1)]),
        hold,
    }
}

#[tokio::test]
async fn an_operation_is_kept_with_the_highest_epoch_that_made_it() {
    let pair = Pair::with(small_sale()).await;
    let reserve = pair.reserve_request("w1/stock", "ann", &[("tee", 1), ("cap", 1)]);
    let claim = pair.claim_request("w1/coupon", "ann", "early");
    for (epoch, kept) in [(5, 5), (4, 5), (10, 10), (10, 10)] {
        let reserve = ReserveRequest {
            epoch,
            ..reserve.clone()
        };
        assert_eq!(pair.reserve(&reserve).await, Ok(ReserveReply::Held));
        assert_eq!(stored(&pair, "w1/stock").await.epoch, Some(kept));
        let claim = ClaimRequest {
            epoch,
            ..claim.clone()
        };
        assert_eq!(pair.claim(&claim).await, has_coupon());
        assert_eq!(stored(&pair, "w1/coupon").await.epoch, Some(kept));
    }
    let tombstone = stored(&pair, "w1/stock").await;
    assert_eq!(pair.release("w1/stock").await, Ok(ReleaseReply::Released));
    let later = ReserveRequest {
        epoch: 11,
        ..reserve
    };
    pair.reserve(&later).await.unwrap();
    let nothing = StoredOperation {
        what: OperationState::Nothing,
        ..tombstone
    };
    assert_eq!(
        stored(&pair, "w1/stock").await,
        nothing,
        "a tombstone stays what it was"
    );
    pair.finish().await;
}

#[tokio::test]
async fn what_a_rebuild_loaded_has_no_epoch_and_gets_none() {
    let pair = Pair::new().await;
    let hold = workflows::ports::reservations::HoldSnapshot {
        operation: operation("w1/stock"),
        buyer: buyer("ann"),
        lines: lines(&[("tee", 1), ("cap", 1)]),
    };
    let in_database = SaleSnapshot {
        holds: vec![hold],
        ended: vec![operation("w1/stock"), operation("w0/stock")],
        ..small_sale()
    };
    pair.rebuild(in_database).await.unwrap();
    let reserve = pair.reserve_request("w1/stock", "ann", &[("tee", 1), ("cap", 1)]);
    assert_eq!(pair.reserve(&reserve).await, Ok(ReserveReply::Held));
    let kept = StoredOperation {
        operation: operation("w1/stock"),
        epoch: None,
        what: anns_tee(HoldState::Held),
    };
    assert_eq!(stored(&pair, "w1/stock").await, kept);
    let tombstone = stored(&pair, "w0/stock").await;
    assert_eq!(
        (tombstone.epoch, tombstone.what),
        (None, OperationState::Nothing)
    );
    pair.finish().await;
}

#[tokio::test]
async fn a_hold_is_extended_once_it_is_there_and_never_after_it_was_released() {
    let pair = Pair::with(small_sale()).await;
    let reserve = pair.reserve_request("w1/stock", "ann", &[("tee", 1), ("cap", 1)]);
    let early = pair.extend("w1/stock").await;
    assert_eq!(early, Ok(ExtendReply::NotHeld));
    assert!(
        pair.fields("operations").await.is_empty(),
        "nothing is written"
    );
    assert_eq!(pair.reserve(&reserve).await, Ok(ReserveReply::Held));
    assert_eq!(
        stored(&pair, "w1/stock").await.what,
        anns_tee(HoldState::Held)
    );
    for _ in 0..2 {
        assert_eq!(pair.extend("w1/stock").await, Ok(ExtendReply::Paying));
        let paying = anns_tee(HoldState::Paying);
        assert_eq!(stored(&pair, "w1/stock").await.what, paying);
        assert_eq!(pair.reserve(&reserve).await, Ok(ReserveReply::Held));
        assert_eq!(stored(&pair, "w1/stock").await.what, paying);
    }
    let confirm = pair.confirm_request("w1/stock", None);
    pair.confirm(&confirm).await.unwrap();
    assert_eq!(pair.extend("w1/stock").await, Ok(ExtendReply::Paying));

    let at_once = ReserveRequest {
        hold: HoldState::Paying,
        ..pair.reserve_request("w2/stock", "bob", &[("tee", 1)])
    };
    assert_eq!(pair.reserve(&at_once).await, Ok(ReserveReply::Held));
    let held = stored(&pair, "w2/stock").await.what;
    assert!(
        matches!(held, OperationState::Holds { hold, .. } if hold == HoldState::Paying),
        "{held:?}"
    );
    assert_eq!(pair.release("w2/stock").await, Ok(ReleaseReply::Released));
    assert_eq!(pair.extend("w2/stock").await, Ok(ExtendReply::NotHeld));
    let claim = pair.claim_request("w3/coupon", "bob", "early");
    assert_eq!(pair.claim(&claim).await, has_coupon());
    assert_eq!(pair.extend("w3/coupon").await, misuse("MISMATCH"));
    pair.close_gate().await.unwrap();
    assert_eq!(pair.extend("w1/stock").await, Err(Failure::Unavailable));
    assert_eq!(pair.operations().await, Err(Failure::Unavailable));
    pair.finish().await;
}

#[tokio::test]
async fn all_operations_are_read_page_by_page_while_others_come_and_go() {
    const ENDED: u32 = 3_000;
    let pair = Pair::new().await;
    let ended = (0..ENDED).map(|index| operation(&format!("w{index}")));
    let snapshot = SaleSnapshot {
        sale: pair.sale.clone(),
        ended: ended.collect(),
        ..small_sale()
    };
    pair.rebuild(snapshot.clone()).await.unwrap();
    for adapter in pair.adapters() {
        let (mut seen, mut cursor, mut pages) = (BTreeSet::new(), None, 0);
        loop {
            let page = adapter
                .operations(&pair.sale, cursor.as_deref(), 100)
                .await
                .unwrap();
            assert_eq!(page.generation, snapshot.generation);
            assert!(page.operations.len() < 1_000, "{}", page.operations.len());
            seen.extend(page.operations.into_iter().map(|stored| stored.operation));
            // One comes with every page, so that the store grows meanwhile.
            let request = pair.release_request(&format!("later-{pages}"));
            adapter.release(&request).await.unwrap();
            pages += 1;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert!(pages > 3, "{pages} pages");
        let missed = snapshot.ended.iter().filter(|name| !seen.contains(name));
        assert_eq!(missed.count(), 0);
    }
    for bad in ["", "first", "-1", "1e3"] {
        for adapter in pair.adapters() {
            let refused = adapter.operations(&pair.sale, Some(bad), 100).await;
            let refused = refused.map_err(Failure::from);
            assert_eq!(refused, misuse("INVALID"), "{bad}");
        }
    }
    for adapter in pair.adapters() {
        adapter.close_gate(&pair.sale).await.unwrap();
    }
    pair.finish().await;
}

#[tokio::test]
async fn what_was_repeated_under_another_epoch_is_not_released_by_who_saw_it_before() {
    let pair = Pair::with(small_sale()).await;
    let hold = pair.reserve_request("w1/stock", "ann", &[("tee", 2)]);
    let claim = pair.claim_request("w1/coupon", "ann", "early");
    let seen = |name: &str| ReleaseRequest {
        only_under: Some(1),
        ..pair.release_request(name)
    };
    // What is not there gets no tombstone: whoever saw it saw something else.
    both_are_told(&pair, &seen, ReleaseReply::MovedOn).await;
    for epoch in [1, 2] {
        assert_eq!(
            pair.reserve(&ReserveRequest {
                epoch,
                ..hold.clone()
            })
            .await,
            Ok(ReserveReply::Held)
        );
        assert!(
            pair.claim(&ClaimRequest {
                epoch,
                ..claim.clone()
            })
            .await
            .is_ok()
        );
    }
    let before = pair.embedded_dump().await;
    for forget in [false, true] {
        let seen = |name: &str| ReleaseRequest {
            forget,
            ..seen(name)
        };
        both_are_told(&pair, &seen, ReleaseReply::MovedOn).await;
    }
    assert_eq!(pair.embedded_dump().await, before, "nothing is written");
    let seen = |name: &str| ReleaseRequest {
        only_under: Some(2),
        ..pair.release_request(name)
    };
    for _ in 0..2 {
        both_are_told(&pair, &seen, ReleaseReply::Released).await;
    }
    assert_eq!(stock(&pair, "tee").await, [10, 0, 0]);
    pair.finish().await;
}

/// Who releases a hold and a claim that were seen like this is told the same of both.
async fn both_are_told(pair: &Pair, seen: &impl Fn(&str) -> ReleaseRequest, reply: ReleaseReply) {
    let hold = pair.release_as(&seen("w1/stock")).await;
    let claim = pair.release_claim_as(&seen("w1/coupon")).await;
    assert_eq!((hold, claim), (Ok(reply), Ok(reply)));
}
