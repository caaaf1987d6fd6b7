//! The scripts keep to one slot of a cluster: by their keys, by their text, and on a node that watches for it.

use std::collections::BTreeSet;

use redis::Value;
use redis::aio::MultiplexedConnection;
use workflows::adapters::scripts::{Call, KEYS_OF_SALE, Reply, RunScript, Script, keys_of};
use workflows::domain::ids::SaleId;
use workflows::ports::reservations::{
    ClaimPurpose, ClaimReply, ClaimRequest, ConfirmReply, ConfirmRequest, ExtendReply,
    ExtendRequest, ReleaseReply, ReleaseRequest, ReservationError, Reservations, ReserveReply,
    ScheduleReply, ScheduleRequest,
};

use crate::conversions::reply_of;
use crate::harness::{
    FAR_AHEAD_MS, LONG_AGO_MS, attached, buyer, operation, reserve_request, small_sale,
};
use crate::patience::answer;
use crate::redis_server::RedisServer;

/// Runs the scripts as those of today's servers, with a first line that says so: then a server of a cluster refuses a script
/// that leaves the slot of its keys, which it lets scripts without that line do where it has the other slot too.
struct Watched(MultiplexedConnection);

impl RunScript for Watched {
    async fn run(&self, call: Call) -> Result<Reply, ReservationError> {
        let mut command = redis::cmd("EVAL");
        command
            .arg(format!("#!lua\n{}", call.script.text()))
            .arg(KEYS_OF_SALE)
            .arg(&call.keys)
            .arg(&call.arguments);
        match command.query_async::<Value>(&mut self.0.clone()).await {
            Ok(value) => Ok(reply_of(value)),
            Err(error) => Err(ReservationError::MaybeSent(error.into())),
        }
    }

    async fn incarnation(&self) -> Result<String, ReservationError> {
        Ok("watched".to_owned())
    }

    async fn attach_checked(&self, _: &str) -> Result<(), ReservationError> {
        Ok(())
    }
}

/// Runs each script at least once, every one that writes so that it does.
async fn every_script(store: &dyn Reservations) {
    let sale = small_sale().sale;
    answer(|| store.attach()).await.unwrap();
    let snapshot = small_sale();
    answer(|| store.rebuild(&snapshot)).await.unwrap();
    let claim = |name: &str, purpose| ClaimRequest {
        sale: sale.clone(),
        campaign: small_sale().campaigns.remove(0).campaign,
        buyer: buyer("ann"),
        operation: operation(name),
        epoch: 1,
        purpose,
        remember_refusal: true,
    };
    for (name, purpose) in [
        ("c1", ClaimPurpose::Ahead),
        ("w1/coupon", ClaimPurpose::Purchase),
    ] {
        let request = claim(name, purpose);
        let claimed = answer(|| store.claim(&request)).await.unwrap();
        assert!(matches!(claimed, ClaimReply::Held { .. }), "{claimed:?}");
    }
    for name in ["w1/stock", "w2/stock"] {
        let request = reserve_request(&sale, name, "ann", &[("tee", 1), ("cap", 1)]);
        let held = answer(|| store.reserve(&request)).await.unwrap();
        assert_eq!(held, ReserveReply::Held);
    }
    let release = |name: &str| ReleaseRequest {
        sale: sale.clone(),
        operation: operation(name),
        forget: false,
        only_under: None,
    };
    let stock = release("w2/stock");
    let released = answer(|| store.release(&stock)).await.unwrap();
    assert_eq!(released, ReleaseReply::Released);
    let coupon = release("w1/coupon");
    let released = answer(|| store.release_claim(&coupon)).await.unwrap();
    assert_eq!(released, ReleaseReply::Released);
    let again = claim("w3/coupon", ClaimPurpose::Purchase);
    answer(|| store.claim(&again)).await.unwrap();
    pay(store, &sale).await;
    assert_eq!(store.operations(&sale, None, 10).await.unwrap().next, None);
    assert!(store.counts(&sale).await.unwrap().is_some());
    store.close_gate(&sale).await.unwrap();
}

async fn pay(store: &dyn Reservations, sale: &SaleId) {
    let extend = ExtendRequest {
        sale: sale.clone(),
        operation: operation("w1/stock"),
    };
    assert_eq!(
        answer(|| store.extend(&extend)).await.unwrap(),
        ExtendReply::Paying
    );
    let confirm = ConfirmRequest {
        sale: sale.clone(),
        operation: operation("w1/stock"),
        claim: Some(operation("w3/coupon")),
    };
    assert_eq!(
        answer(|| store.confirm(&confirm)).await.unwrap(),
        ConfirmReply::Sold
    );
    let schedule = ScheduleRequest {
        sale: sale.clone(),
        revision: 2,
        opens_at_ms: LONG_AGO_MS,
        closes_at_ms: FAR_AHEAD_MS,
        is_cancelled: true,
    };
    let scheduled = answer(|| store.schedule(&schedule)).await.unwrap();
    assert_eq!(scheduled, ScheduleReply::Scheduled);
}

/// The names of keys that a script gives to commands.
fn keys_in(text: &str) -> BTreeSet<&str> {
    let calls = text.split("redis.call('").skip(1);
    let keys = calls.filter_map(|call| {
        let (_, arguments) = call.split_once('\'')?;
        let first = arguments.strip_prefix(", ")?;
        first.split([',', ')']).next()
    });
    keys.collect()
}

#[tokio::test]
async fn scripts_are_cluster_safe() {
    for sale in ["a", "drop-2026", "replaced"] {
        let sale = SaleId::parse(sale).unwrap();
        let tag = format!("{{{sale}}}");
        let keys = keys_of(&sale);
        assert!(keys.iter().all(|key| key.matches(&tag).count() == 1));
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), KEYS_OF_SALE);
    }
    // `key` goes through the keys that `copies` names.
    let known = BTreeSet::from([
        "META",
        "STOCK",
        "BUYERS",
        "OPERATIONS",
        "CAMPAIGNS",
        "CLAIMS",
        "STARTS",
        "key",
    ]);
    for script in Script::ALL {
        let keys = keys_in(script.text());
        assert!(keys.contains("META"), "{script:?}: {keys:?}");
        assert!(keys.is_subset(&known), "{script:?}: {keys:?}");
    }
    let Some(server) = RedisServer::start_cluster().await else {
        return;
    };
    let watched = Watched(server.raw().await);
    let strays = "#!lua\nreturn redis.call('HGET', 'another', 'field')";
    let mut command = redis::cmd("EVAL");
    command
        .arg(strays)
        .arg(KEYS_OF_SALE)
        .arg(&keys_of(&small_sale().sale));
    let refused = command.query_async::<Value>(&mut watched.0.clone()).await;
    assert!(refused.is_err(), "the server watches");
    every_script(&watched).await;
    let redis = attached(&server.url()).await;
    every_script(&redis).await;
}
