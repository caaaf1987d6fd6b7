//! When the connection fails: only one that was never made is known to have done nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use tokio::net::TcpSocket;
use wiremock::ResponseTemplate;
use workflows::ports::payment_gateway::{Approval, GatewayError, LostAnswer, PaymentId};

use crate::{
    ORDER, PATIENCE, PATIENCES, approve_at, approve_request, cancel_request, client,
    impatient_client, json_answer, payment, server,
};

/// Accepts one connection, reads the whole request, and does with the connection what the test says.
fn raw_server(then: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        read_request(&stream);
        then(stream);
    });
    format!("http://{address}")
}

fn read_request(stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).expect("a header") > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length]).expect("the body");
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    // Bound, so that nobody else gets the port, and never listening.
    let bound = TcpSocket::new_v4().expect("a socket");
    let any = "127.0.0.1:0".parse().expect("an address");
    bound.bind(any).expect("a free port");
    let address = bound.local_addr().expect("an address");
    let gateway = client(&format!("http://{address}"));
    let approved = gateway.approve(&approve_request(ORDER, "tok-secret")).await;
    let Err(error @ GatewayError::NotSent(_)) = approved else {
        panic!("{approved:?}")
    };
    assert!(error.known_without_effect());
    assert!(error.to_string().contains("refused"), "{error}");
    let inquired = gateway.inquire(ORDER).await;
    assert!(
        matches!(inquired, Err(GatewayError::NotSent(_))),
        "{inquired:?}"
    );
    let cancelled = gateway
        .cancel(&cancel_request(
            PaymentId::parse("pay-1").expect("an id"),
            1,
            0,
        ))
        .await;
    assert!(
        matches!(cancelled, Err(GatewayError::NotSent(_))),
        "{cancelled:?}"
    );
}

#[tokio::test]
async fn an_unknown_host_was_sent_nothing() {
    let approved = approve_at("http://no-such-host.invalid:9090").await;
    assert!(
        matches!(approved, Err(GatewayError::NotSent(_))),
        "{approved:?}"
    );
}

#[tokio::test]
async fn a_connection_closed_after_the_request_may_have_captured() {
    let approved = approve_at(&raw_server(drop)).await;
    assert!(
        matches!(
            approved,
            Err(GatewayError::MaybeSent(LostAnswer::Broken(_)))
        ),
        "{approved:?}"
    );
}

#[tokio::test]
async fn a_reset_after_part_of_the_request_may_have_captured() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.read_exact(&mut [0; 16]).expect("a part");
        // Closing with unread bytes makes the kernel send a reset.
    });
    let approved = approve_at(&url).await;
    assert!(
        matches!(
            approved,
            Err(GatewayError::MaybeSent(LostAnswer::Broken(_)))
        ),
        "{approved:?}"
    );
}

#[tokio::test]
async fn an_answer_cut_short_may_have_captured() {
    let heads = [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"payment_id\"",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"pay",
        "HTTP/1.1 409 Conflict\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"code\"",
        "SMTP ready\r\n\r\n",
    ];
    for head in heads {
        let url = raw_server(move |mut stream| stream.write_all(head.as_bytes()).expect("a head"));
        let approved = approve_at(&url).await;
        assert!(
            matches!(
                approved,
                Err(GatewayError::MaybeSent(LostAnswer::Broken(_)))
            ),
            "{head}: {approved:?}"
        );
    }
}

#[tokio::test]
async fn a_whole_body_on_a_connection_that_then_closes_counts() {
    let body = payment().to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{body}"
    );
    let url = raw_server(move |mut stream| stream.write_all(answer.as_bytes()).expect("an answer"));
    let approved = approve_at(&url).await;
    assert!(
        matches!(approved, Ok(Approval::Approved(_))),
        "{approved:?}"
    );
}

#[tokio::test]
async fn no_answer_in_time_may_have_captured() {
    for patience in PATIENCES {
        let server = server(json_answer(200, &payment()).set_delay(10 * PATIENCE)).await;
        let gateway = impatient_client(&server.uri(), patience);
        let approved = gateway.approve(&approve_request(ORDER, "tok-ok")).await;
        let inquired = gateway.inquire(ORDER).await;
        let received = server.received_requests().await;
        if received.is_none_or(|requests| requests.len() < 2) {
            continue;
        }
        assert!(
            matches!(approved, Err(GatewayError::MaybeSent(LostAnswer::TimedOut))),
            "{approved:?}"
        );
        assert!(
            matches!(inquired, Err(GatewayError::MaybeSent(LostAnswer::TimedOut))),
            "{inquired:?}"
        );
        return;
    }
    panic!("the requests were never sent");
}

#[tokio::test]
async fn a_body_that_stalls_may_have_captured() {
    for patience in PATIENCES {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let (stalls, has_stalled) = std::sync::mpsc::channel();
        let url = raw_server(move |mut stream| {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{";
            if stream.write_all(head.as_bytes()).is_ok() {
                let _ = stalls.send(());
            }
            let _ = wait.recv_timeout(PATIENCE);
        });
        let gateway = impatient_client(&url, patience);
        let approved = gateway.approve(&approve_request(ORDER, "tok-ok")).await;
        let has_stalled = has_stalled.try_recv().is_ok();
        drop(done);
        if has_stalled {
            assert!(
                matches!(approved, Err(GatewayError::MaybeSent(LostAnswer::TimedOut))),
                "{approved:?}"
            );
            return;
        }
    }
    panic!("the body never began");
}

#[tokio::test]
async fn a_charge_is_sent_once_by_one_call_whatever_comes_back() {
    for status in [408, 425, 429, 500, 503, 307] {
        let answer =
            ResponseTemplate::new(status).insert_header("location", "/v1/payments/approve");
        let server = server(answer).await;
        approve_at(&server.uri()).await.expect_err("no approval");
        assert_eq!(
            server
                .received_requests()
                .await
                .map(|requests| requests.len()),
            Some(1),
            "{status}"
        );
    }
}
