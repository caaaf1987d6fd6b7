//! What a caller is told when the server is away, frozen, emptied, replaced or unwilling: never a wrong answer, always
//! whether the call may have had an effect, and service again without a restart of ours.

use std::error::Error;

use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout};
use workflows::adapters::redis::{
    CONNECT_TIMEOUT, ConnectError, RESPONSE_TIMEOUT, RedisReservations,
};
use workflows::ports::reservations::{
    ReleaseRequest, ReservationError, Reservations, ReserveReply, ReserveRequest,
};

use crate::harness::{Failure, Outcome, attached, dump_of, operation, reserve_request, small_sale};
use crate::patience::{PATIENCE, answer};
use crate::redis_server::RedisServer;

fn one_tee(name: &str) -> ReserveRequest {
    reserve_request(&small_sale().sale, name, name, &[("tee", 1)])
}

async fn reserve_once(reservations: &RedisReservations, name: &str) -> Outcome<ReserveReply> {
    Ok(reservations.reserve(&one_tee(name)).await?)
}

/// The same on a server that answers, be it late.
async fn reserve(reservations: &RedisReservations, name: &str) -> Outcome<ReserveReply> {
    let request = one_tee(name);
    Ok(answer(|| reservations.reserve(&request)).await?)
}

/// A server of the test's own, and the adapter attached to it with the small sale open.
async fn open_for_business() -> Option<(RedisServer, RedisReservations)> {
    let server = RedisServer::start().await?;
    let reservations = attached(&server.url()).await;
    open_sale(&reservations).await;
    assert_eq!(reserve(&reservations, "w0").await, Ok(ReserveReply::Held));
    Some((server, reservations))
}

async fn open_sale(reservations: &RedisReservations) {
    let snapshot = small_sale();
    answer(|| reservations.rebuild(&snapshot)).await.unwrap();
}

/// Asks until the answer is another than `not` (bounded), and returns it.
async fn reply_after(
    reservations: &RedisReservations,
    name: &str,
    not: &[Failure],
) -> Outcome<ReserveReply> {
    let other_answer = async {
        loop {
            match reserve_once(reservations, name).await {
                Err(failure) if not.contains(&failure) => tokio::task::yield_now().await,
                reply => return reply,
            }
        }
    };
    timeout(PATIENCE, other_answer)
        .await
        .expect("another answer")
}

#[tokio::test]
async fn a_connection_refused_is_not_sent_and_names_the_address() {
    // Bound, so that nobody else gets the port, and never listening.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = bound.local_addr().unwrap().port();
    let error = RedisReservations::connect(&format!("redis://:secret@127.0.0.1:{port}")).await;
    let Err(ReservationError::NotSent(cause)) = error else {
        panic!("{error:?}")
    };
    let text = cause.to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn an_address_that_is_no_redis_url_is_named_as_such() {
    for url in [
        "",
        "localhost",
        "http://localhost:6379",
        "redis://localhost:notaport",
    ] {
        let error = RedisReservations::connect(url).await;
        let Err(ReservationError::NotSent(cause)) = error else {
            panic!("{url}: {error:?}")
        };
        let cause = cause.downcast_ref::<ConnectError>();
        assert!(
            matches!(cause, Some(ConnectError::BadUrl(_))),
            "{url}: {cause:?}"
        );
    }
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_named_as_such() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let with_password = |password| server.url().replace("//", &format!("//:{password}@"));
    let raw = server.raw().await;
    server.command("CONFIG SET requirepass right").await;
    for url in [server.url(), with_password("wrong")] {
        let begun = Instant::now();
        loop {
            let error = RedisReservations::connect(&url).await;
            let Err(ReservationError::NotSent(cause)) = error else {
                panic!("{error:?}")
            };
            match cause.downcast_ref::<ConnectError>() {
                Some(ConnectError::Password(_)) => break,
                // It answers late.
                Some(ConnectError::Unreachable { .. }) if begun.elapsed() < PATIENCE => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let right = with_password("right");
    answer(|| RedisReservations::connect(&right)).await.unwrap();
    drop(raw);
}

#[tokio::test]
async fn an_emptied_server_is_unavailable_and_never_sold_out() {
    let Some((server, reservations)) = open_for_business().await else {
        return;
    };
    server.command("FLUSHALL").await;
    assert_eq!(
        reserve(&reservations, "w1").await,
        Err(Failure::Unavailable)
    );
    let sale = small_sale().sale;
    let counts = answer(|| reservations.counts(&sale)).await;
    assert_eq!(counts.unwrap(), None);
    open_sale(&reservations).await;
    assert_eq!(reserve(&reservations, "w1").await, Ok(ReserveReply::Held));
}

#[tokio::test]
async fn without_its_scripts_a_server_is_another_incarnation_until_attached() {
    let Some((server, reservations)) = open_for_business().await else {
        return;
    };
    server.command("SCRIPT FLUSH").await;
    for _ in 0..2 {
        assert_eq!(
            reserve(&reservations, "w1").await,
            Err(Failure::OtherIncarnation)
        );
    }
    let incarnation = answer(|| reservations.incarnation()).await.unwrap();
    let attached = answer(|| reservations.attach_checked(&incarnation)).await;
    attached.unwrap();
    assert_eq!(reserve(&reservations, "w1").await, Ok(ReserveReply::Held));
}

#[tokio::test]
async fn a_node_is_not_served_because_another_node_attached() {
    let Some((mut server, first)) = open_for_business().await else {
        return;
    };
    let url = server.url();
    let second = answer(|| RedisReservations::connect(&url)).await.unwrap();
    assert_eq!(
        reserve(&second, "w1").await,
        Err(Failure::OtherIncarnation),
        "never attached"
    );
    answer(|| second.attach()).await.unwrap();
    assert_eq!(reserve(&second, "w1").await, Ok(ReserveReply::Held));
    server.kill();
    server.start_again().await;
    answer(|| first.attach()).await.unwrap();
    let away = [Failure::MaybeSent, Failure::NotSent];
    assert_eq!(
        reply_after(&second, "w2", &away).await,
        Err(Failure::OtherIncarnation)
    );
    assert_eq!(reserve(&first, "w2").await, Ok(ReserveReply::Held));
}

#[tokio::test]
async fn a_restarted_server_is_not_trusted_with_its_own_data() {
    let Some((mut server, reservations)) = open_for_business().await else {
        return;
    };
    let before = answer(|| reservations.incarnation()).await.unwrap();
    server.kill();
    let away = reply_after(&reservations, "w1", &[Failure::MaybeSent]).await;
    assert_eq!(
        away,
        Err(Failure::NotSent),
        "once the connection is known to be gone"
    );
    server.start_again().await;
    // It may still be loading what it had.
    let away = [Failure::NotSent, Failure::MaybeSent, Failure::Unavailable];
    let back = reply_after(&reservations, "w1", &away).await;
    assert_eq!(back, Err(Failure::OtherIncarnation));
    let refused = answer(|| reservations.attach_checked(&before)).await;
    assert!(
        matches!(refused, Err(ReservationError::OtherIncarnation(_))),
        "{refused:?}"
    );
    let after = answer(|| reservations.attach()).await.unwrap();
    assert_ne!(after, before);
    assert_eq!(
        reserve(&reservations, "w0").await,
        Ok(ReserveReply::Held),
        "the data was there"
    );
}

#[tokio::test]
async fn a_connection_that_breaks_is_replaced_by_itself() {
    let Some((server, reservations)) = open_for_business().await else {
        return;
    };
    server.command("CLIENT KILL TYPE normal").await;
    let broken = [Failure::MaybeSent, Failure::NotSent];
    assert_eq!(
        reply_after(&reservations, "w1", &broken).await,
        Ok(ReserveReply::Held)
    );
}

#[tokio::test]
async fn a_frozen_server_leaves_the_effect_unknown_within_the_time_out() {
    let Some((server, reservations)) = open_for_business().await else {
        return;
    };
    server.freeze();
    // Both times by the same timers, which stand still with the machine.
    let request = one_tee("w1");
    let first = timeout(2 * RESPONSE_TIMEOUT, reservations.reserve(&request)).await;
    let error = first.expect("in time").unwrap_err();
    assert!(error.may_have_taken_effect(), "{error:?}");
    assert!(error.source().is_some(), "with its cause");
    let second = timeout(2 * CONNECT_TIMEOUT, reserve_once(&reservations, "w2")).await;
    assert_eq!(
        second.expect("in time"),
        Err(Failure::NotSent),
        "a new connection gets no greeting"
    );
    server.thaw();
    let later = reply_after(&reservations, "w1", &[Failure::NotSent, Failure::MaybeSent]).await;
    assert_eq!(
        later,
        Ok(ReserveReply::Held),
        "whether or not it was held before"
    );
    let sale = small_sale().sale;
    let counts = answer(|| reservations.counts(&sale)).await;
    let counts = counts.unwrap().unwrap();
    let tee = counts.products.into_values().next_back().unwrap();
    assert_eq!([tee.available, tee.held], [8, 2], "w0 and w1, once each");
}

#[tokio::test]
async fn a_server_that_refuses_writes_is_unavailable_and_unchanged() {
    let Some((server, reservations)) = open_for_business().await else {
        return;
    };
    let sale = small_sale().sale;
    let raw = server.raw().await;
    let before = dump_of(&raw, &sale).await;
    let release = ReleaseRequest {
        sale: sale.clone(),
        operation: operation("w0"),
        forget: false,
        only_under: None,
    };
    for (refuse, accept) in [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
        (
            "CONFIG SET min-replicas-to-write 1",
            "CONFIG SET min-replicas-to-write 0",
        ),
    ] {
        server.command(refuse).await;
        assert_eq!(
            reserve(&reservations, "w1").await,
            Err(Failure::Unavailable),
            "{refuse}"
        );
        let released = answer(|| reservations.release(&release)).await;
        let released = released.map_err(Failure::from);
        assert_eq!(released, Err(Failure::Unavailable), "{refuse}");
        assert_eq!(dump_of(&raw, &sale).await, before, "{refuse}");
        server.command(accept).await;
    }
    assert_eq!(reserve(&reservations, "w1").await, Ok(ReserveReply::Held));
}
