//! Each HTTP status has one meaning, and only a few of them say that nothing happened.

use std::time::Duration;

use serde_json::json;
use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};
use workflows::ports::payment_gateway::{
    Approval, GatewayError, LostAnswer, PaymentId, PaymentStatus,
};

use crate::{
    ORDER, approve_answered, approve_request, cancel_answered, cancel_request, client, json_answer,
    payment, server, with, won,
};

#[tokio::test]
async fn an_approval_of_our_order_and_amount_is_approved() {
    let Ok(Approval::Approved(record)) = approve_answered(json_answer(200, &payment())).await
    else {
        panic!("an approval");
    };
    assert_eq!(
        (record.payment_id.as_str(), record.order_id.as_str()),
        ("pay-1", ORDER)
    );
    assert_eq!(
        (record.status, record.amount, record.refunded),
        (PaymentStatus::Approved, won(1_000), 0)
    );
}

#[tokio::test]
async fn a_declined_payment_is_declined_with_its_reason() {
    let decline = json!({ "code": "insufficient-funds", "message": "No money." });
    let body = with(
        with(payment(), "status", json!("declined")),
        "decline",
        decline,
    );
    let declined = approve_answered(json_answer(200, &body))
        .await
        .expect("an answer");
    let expected = Approval::Declined {
        code: "insufficient-funds".to_owned(),
        message: "No money.".to_owned(),
    };
    assert_eq!(declined, expected);
}

#[tokio::test]
async fn every_4xx_with_a_reason_is_rejected_with_it() {
    for status in [400, 401, 402, 403, 404, 405, 410, 413, 415, 422, 451] {
        let refused = approve_answered(json_answer(
            status,
            &json!({ "code": "no", "message": "Why." }),
        ))
        .await;
        let Err(GatewayError::Rejected {
            status: got,
            code,
            message,
        }) = refused
        else {
            panic!("{status}: {refused:?}");
        };
        assert_eq!(
            (got, code.as_str(), message.as_str()),
            (status, "no", "Why.")
        );
    }
}

#[tokio::test]
async fn a_4xx_without_a_readable_reason_is_rejected_all_the_same() {
    let answers = [
        ResponseTemplate::new(404),
        ResponseTemplate::new(404).set_body_string("<html>not here</html>"),
        ResponseTemplate::new(404).set_body_raw("{", "application/json"),
        ResponseTemplate::new(404).set_body_raw(vec![b' '; 1 << 20], "application/json"),
    ];
    for answer in answers {
        let refused = approve_answered(answer).await;
        let Err(GatewayError::Rejected {
            status: 404, code, ..
        }) = refused
        else {
            panic!("{refused:?}")
        };
        assert_eq!(code, "unexplained");
    }
}

#[tokio::test]
async fn a_reason_is_shortened_and_stripped_of_control_characters() {
    let body = json!({ "code": "c".repeat(1_000), "message": format!("a\nb\u{1b}[31m{}", "m".repeat(10_000)) });
    let refused = approve_answered(json_answer(400, &body)).await;
    let Err(GatewayError::Rejected { code, message, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((code.len(), message.len()), (64, 256));
    assert!(message.starts_with("ab[31mm"), "{message}");
}

#[tokio::test]
async fn a_409_tells_in_progress_from_conflict_from_rejected() {
    let answer = |code| json_answer(409, &json!({ "code": code, "message": "Why." }));
    let in_progress = approve_answered(answer("in-progress")).await;
    assert!(
        matches!(in_progress, Err(GatewayError::InProgress)),
        "{in_progress:?}"
    );
    let approved = approve_answered(answer("already-approved")).await;
    assert!(
        matches!(&approved, Err(GatewayError::Conflict { code, .. }) if code == "already-approved"),
        "{approved:?}"
    );
    let rejected = cancel_answered(answer("rest-mismatch")).await;
    assert!(
        matches!(rejected, Err(GatewayError::Rejected { status: 409, .. })),
        "{rejected:?}"
    );
}

#[tokio::test]
async fn a_409_that_does_not_say_why_may_hide_a_capture() {
    let answers = [
        ResponseTemplate::new(409),
        ResponseTemplate::new(409).set_body_string("conflict"),
        ResponseTemplate::new(409).set_body_raw("{}", "application/json"),
    ];
    for answer in answers {
        let refused = approve_answered(answer).await;
        assert!(
            matches!(refused, Err(GatewayError::MaybeSent(_))),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_reused_key_is_a_conflict_because_its_first_use_may_have_captured() {
    let refused = approve_answered(json_answer(
        422,
        &json!({ "code": "idempotency-key-reused" }),
    ))
    .await;
    assert!(
        matches!(&refused, Err(GatewayError::Conflict { code, .. }) if code == "idempotency-key-reused"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn busy_comes_with_the_wait_that_was_asked_for() {
    let busy = |status, retry_after: Option<&str>| {
        let answer = ResponseTemplate::new(status);
        retry_after.map_or(answer.clone(), |value| {
            answer.insert_header("retry-after", value)
        })
    };
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let cases = [
        (429, None, None),
        (429, Some("7"), seconds(7)),
        (429, Some("0"), seconds(0)),
        (429, Some("-1"), None),
        (429, Some("soon"), None),
        (429, Some("Wed, 21 Oct 2026 07:28:00 GMT"), None),
        (429, Some("18446744073709551615"), seconds(3_600)),
        (429, Some("99999999999999999999999"), None),
        (503, Some("2"), seconds(2)),
        (503, Some("later"), None),
    ];
    for (status, header, expected) in cases {
        let refused = approve_answered(busy(status, header)).await;
        let Err(GatewayError::Busy { retry_after }) = refused else {
            panic!("{status} {header:?}: {refused:?}")
        };
        assert_eq!(retry_after, expected, "{status} {header:?}");
    }
}

#[tokio::test]
async fn every_other_status_may_hide_a_capture() {
    for status in [
        201, 202, 204, 206, 301, 302, 304, 307, 308, 408, 500, 501, 502, 503, 504, 507, 520, 599,
    ] {
        let answer = json_answer(status, &payment())
            .insert_header("location", "http://127.0.0.1:1/elsewhere");
        let lost = approve_answered(answer).await;
        let Err(GatewayError::MaybeSent(LostAnswer::Status(got))) = lost else {
            panic!("{status}: {lost:?}")
        };
        assert_eq!(got, status);
    }
}

#[tokio::test]
async fn only_what_is_known_without_effect_says_so() {
    let cases = [
        (json_answer(400, &json!({ "code": "no" })), true),
        (ResponseTemplate::new(429), true),
        (
            ResponseTemplate::new(503).insert_header("retry-after", "1"),
            true,
        ),
        (ResponseTemplate::new(503), false),
        (ResponseTemplate::new(500), false),
        (json_answer(409, &json!({ "code": "in-progress" })), false),
        (
            json_answer(409, &json!({ "code": "already-approved" })),
            false,
        ),
        (
            json_answer(200, &with(payment(), "amount", json!(999))),
            false,
        ),
        (json_answer(200, &json!({})), false),
    ];
    for (answer, expected) in cases {
        let error = approve_answered(answer).await.expect_err("no approval");
        assert_eq!(error.known_without_effect(), expected, "{error}");
    }
}

#[tokio::test]
async fn requests_are_what_the_gateway_documents() {
    let server = MockServer::start().await;
    let approve_body =
        json!({ "order_id": ORDER, "amount": 1_000, "currency": "KRW", "payment_token": "tok-ok" });
    Mock::given(method("POST"))
        .and(path("/pg/v1/payments/approve"))
        .and(header("idempotency-key", "order-1/payment"))
        .and(body_json(approve_body))
        .respond_with(json_answer(200, &payment()))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(path("/pg/v1/payments"))
        .and(query_param("order_id", "a/b?c&d=é #"))
        .respond_with(json_answer(200, &json!({ "payments": [] })))
        .expect(1)
        .mount(&server)
        .await;
    let refunded = with(payment(), "refunded", json!(300));
    Mock::given(method("POST"))
        .and(path("/pg/v1/payments/pay-1/cancel"))
        .and(header("idempotency-key", "pay-1/refund-700"))
        .and(body_json(
            json!({ "amount": 300, "expected_rest_amount": 700 }),
        ))
        .respond_with(json_answer(
            200,
            &json!({ "payment": refunded, "cancelled_amount": 300, "rest_amount": 700 }),
        ))
        .expect(1)
        .mount(&server)
        .await;

    let gateway = client(&format!("{}/pg/", server.uri()));
    gateway
        .approve(&approve_request(ORDER, "tok-ok"))
        .await
        .expect("an approval");
    assert_eq!(
        gateway.inquire("a/b?c&d=é #").await.expect("an answer"),
        None
    );
    let request = cancel_request(PaymentId::parse("pay-1").expect("an id"), 300, 700);
    assert_eq!(
        gateway.cancel(&request).await.expect("a cancellation").rest,
        700
    );
}

#[tokio::test]
async fn an_unknown_path_is_never_read_as_no_payment() {
    let server = server(ResponseTemplate::new(404)).await;
    let inquiry = client(&server.uri()).inquire(ORDER).await;
    assert!(
        matches!(inquiry, Err(GatewayError::Rejected { status: 404, .. })),
        "{inquiry:?}"
    );
}
