//! Every way to give something back is run, on the embedded store and on a real server of its own, and leaves what was before.

use std::sync::Arc;

use workflows::adapters::embedded::EmbeddedReservations;
use workflows::ports::reservations::{
    ClaimPurpose, ClaimReply, ClaimRequest, ConfirmRequest, ExtendRequest, ReleaseReply,
    ReleaseRequest, ReservationError, Reservations, ReserveReply, ReserveRequest, SaleCounts,
};

use crate::harness::{
    Failure, NOW_MS, Outcome, attached, buyer, operation, reserve_request, small_sale,
};
use crate::outcomes::misuse;
use crate::patience::answer;
use crate::redis_server::RedisServer;

/// One store with the small sale open.
struct Store<'a>(&'a dyn Reservations);

impl Store<'_> {
    async fn counts(&self) -> SaleCounts {
        let sale = small_sale().sale;
        let counts = answer(|| self.0.counts(&sale)).await;
        counts.unwrap().unwrap()
    }

    async fn hold(&self, name: &str) -> ReserveRequest {
        let request = reserve_request(&small_sale().sale, name, "ann", &[("tee", 2), ("cap", 1)]);
        let held = answer(|| self.0.reserve(&request)).await.unwrap();
        assert_eq!(held, ReserveReply::Held);
        request
    }

    async fn extend(&self, name: &str) {
        let request = ExtendRequest {
            sale: small_sale().sale,
            operation: operation(name),
        };
        answer(|| self.0.extend(&request)).await.unwrap();
    }

    async fn confirm(&self, name: &str, claim: Option<&str>) {
        let request = ConfirmRequest {
            sale: small_sale().sale,
            operation: operation(name),
            claim: claim.map(operation),
        };
        answer(|| self.0.confirm(&request)).await.unwrap();
    }

    async fn claim(&self, name: &str, purpose: ClaimPurpose) {
        let request = ClaimRequest {
            sale: small_sale().sale,
            campaign: small_sale().campaigns.remove(0).campaign,
            buyer: buyer("ann"),
            operation: operation(name),
            epoch: 1,
            purpose,
            remember_refusal: false,
        };
        let claimed = answer(|| self.0.claim(&request)).await.unwrap();
        assert!(matches!(claimed, ClaimReply::Held { .. }), "{claimed:?}");
    }

    async fn release(&self, name: &str, forget: bool) -> Outcome<ReleaseReply> {
        let request = release_request(name, forget);
        outcome(answer(|| self.0.release(&request)).await)
    }

    async fn release_claim(&self, name: &str, forget: bool) -> Outcome<ReleaseReply> {
        let request = release_request(name, forget);
        outcome(answer(|| self.0.release_claim(&request)).await)
    }
}

fn release_request(name: &str, forget: bool) -> ReleaseRequest {
    ReleaseRequest {
        sale: small_sale().sale,
        operation: operation(name),
        forget,
        only_under: None,
    }
}

fn outcome(answer: Result<ReleaseReply, ReservationError>) -> Outcome<ReleaseReply> {
    answer.map_err(Failure::from)
}

const RELEASED: Outcome<ReleaseReply> = Ok(ReleaseReply::Released);
const NOTHING: Outcome<ReleaseReply> = Ok(ReleaseReply::NothingHeld);

async fn of_holds(store: &Store<'_>) {
    let before = store.counts().await;
    assert_eq!(store.release("never", false).await, NOTHING);
    assert_eq!(store.release("never", true).await, NOTHING);
    for (name, paying, forget) in [
        ("held", false, false),
        ("paying", true, false),
        ("held, forgotten", false, true),
        ("paying, forgotten", true, true),
    ] {
        store.hold(name).await;
        if paying {
            store.extend(name).await;
        }
        assert_ne!(store.counts().await, before, "{name}");
        assert_eq!(store.release(name, forget).await, RELEASED, "{name}");
        assert_eq!(store.counts().await, before, "{name}");
        let again = if forget { NOTHING } else { RELEASED };
        assert_eq!(store.release(name, false).await, again, "{name}");
        assert_eq!(store.release_claim(name, false).await, misuse("MISMATCH"));
        assert_eq!(store.counts().await, before, "{name}");
    }
    let too_many = ReserveRequest {
        remember_refusal: true,
        ..reserve_request(&small_sale().sale, "refused", "ann", &[("cap", 3)])
    };
    store.0.reserve(&too_many).await.unwrap();
    assert_eq!(store.release("refused", false).await, NOTHING);
    assert_eq!(store.counts().await, before);
}

async fn of_claims(store: &Store<'_>) {
    let before = store.counts().await;
    assert_eq!(store.release_claim("no claim", false).await, NOTHING);
    assert_eq!(store.release_claim("no claim", true).await, NOTHING);
    for forget in [false, true] {
        for purpose in [ClaimPurpose::Ahead, ClaimPurpose::Purchase] {
            let name = format!("{purpose:?} {forget}");
            store.claim(&name, purpose).await;
            assert_ne!(store.counts().await, before);
            assert_eq!(store.release_claim(&name, forget).await, RELEASED);
            assert_eq!(store.counts().await, before, "{name}");
            let again = if forget { NOTHING } else { RELEASED };
            assert_eq!(store.release_claim(&name, false).await, again);
            assert_eq!(store.release(&name, false).await, misuse("MISMATCH"));
        }
    }
    for forget in [false, true] {
        let (ahead, taker) = (format!("from {forget}"), format!("taker {forget}"));
        store.claim(&ahead, ClaimPurpose::Ahead).await;
        let kept = store.counts().await;
        store.claim(&taker, ClaimPurpose::Purchase).await;
        assert_eq!(store.release_claim(&ahead, false).await, misuse("USED"));
        assert_eq!(store.release_claim(&taker, forget).await, RELEASED);
        assert_eq!(store.counts().await, kept, "the buyer has it again");
        assert_eq!(store.release_claim(&ahead, forget).await, RELEASED);
        assert_eq!(store.counts().await, before);
    }
    store.claim("from nobody", ClaimPurpose::Ahead).await;
    store.claim("its taker", ClaimPurpose::Purchase).await;
    assert_eq!(store.release_claim("from nobody", true).await, RELEASED);
    assert_eq!(store.release_claim("its taker", false).await, RELEASED);
    assert_eq!(store.counts().await, before, "given back with the purchase");
}

async fn of_what_is_gone(store: &Store<'_>) {
    store.hold("sold").await;
    store.claim("kept", ClaimPurpose::Ahead).await;
    store.claim("used", ClaimPurpose::Purchase).await;
    store.confirm("sold", Some("used")).await;
    let before = store.counts().await;
    for forget in [false, true] {
        assert_eq!(store.release("sold", forget).await, misuse("SOLD"));
        assert_eq!(store.release_claim("used", forget).await, misuse("USED"));
        assert_eq!(
            store.release_claim("kept", forget).await,
            Ok(ReleaseReply::Used)
        );
    }
    assert_eq!(store.counts().await, before);
}

async fn of_what_a_rebuild_ended(store: &Store<'_>) {
    let mut snapshot = small_sale();
    snapshot.ended = vec![operation("ended")];
    store.0.rebuild(&snapshot).await.unwrap();
    for forget in [false, true] {
        assert_eq!(store.release("ended", forget).await, NOTHING);
        assert_eq!(store.release_claim("ended", forget).await, NOTHING);
    }
    store.0.close_gate(&snapshot.sale).await.unwrap();
    assert_eq!(
        store.release("ended", false).await,
        Err(Failure::Unavailable)
    );
    assert_eq!(
        store.release_claim("ended", false).await,
        Err(Failure::Unavailable)
    );
}

async fn every_path(reservations: &dyn Reservations) {
    reservations.attach().await.unwrap();
    reservations.rebuild(&small_sale()).await.unwrap();
    let store = Store(reservations);
    of_holds(&store).await;
    of_claims(&store).await;
    of_what_is_gone(&store).await;
    of_what_a_rebuild_ended(&store).await;
}

#[tokio::test]
async fn rollback_scripts_run() {
    let embedded = EmbeddedReservations::new("test", Arc::new(|| NOW_MS * 1_000)).unwrap();
    every_path(&embedded).await;
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let redis = attached(&server.url()).await;
    every_path(&redis).await;
}
