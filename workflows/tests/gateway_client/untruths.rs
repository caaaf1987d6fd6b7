//! An answer about something else than what was asked is never a yes, and one that can't be read is never a no.

use serde_json::{Value, json};
use wiremock::ResponseTemplate;
use workflows::ports::payment_gateway::{GatewayError, LostAnswer, PaymentStatus};

use crate::{
    ORDER, approve_answered, cancel_answered, client, json_answer, payment, server, with, won,
};

fn declined(order_id: &str) -> Value {
    let body = with(
        with(payment(), "status", json!("declined")),
        "order_id",
        json!(order_id),
    );
    with(body, "decline", json!({ "code": "no", "message": "No." }))
}

fn cancelled(payment: &Value, cancelled_amount: u64, rest_amount: u64) -> ResponseTemplate {
    let body = json!({ "payment": payment, "cancelled_amount": cancelled_amount, "rest_amount": rest_amount });
    json_answer(200, &body)
}

#[tokio::test]
async fn another_order_amount_or_currency_is_a_mismatch_that_names_both_sides() {
    let bodies = [
        with(payment(), "amount", json!(999)),
        with(payment(), "amount", json!(1_001)),
        with(payment(), "amount", json!(0)),
        with(payment(), "amount", json!(u64::MAX)),
        with(payment(), "currency", json!("USD")),
        with(payment(), "order_id", json!("order-2")),
        with(payment(), "order_id", json!("ORDER-1")),
        with(payment(), "status", json!("cancelled")),
        with(payment(), "refunded", json!(1)),
        declined("order-2"),
        with(declined(ORDER), "amount", json!(999)),
    ];
    for body in bodies {
        let answered = approve_answered(json_answer(200, &body)).await;
        let Err(GatewayError::Mismatch { expected, got }) = answered else {
            panic!("{body}: {answered:?}")
        };
        assert!(expected.contains("order order-1, 1000 KRW"), "{expected}");
        assert_eq!(got.order_id, body["order_id"].as_str().expect("an order"));
        assert_eq!(Some(got.amount.amount), body["amount"].as_u64());
    }
}

#[tokio::test]
async fn what_cannot_be_read_may_hide_a_capture() {
    let bodies = [
        "",
        " ",
        "null",
        "true",
        "[]",
        "{}",
        "{",
        "approved",
        "\u{0}",
        "{\"payment_id\":\"pay-1\"}",
        r#"["pay-1","order-1","approved",1000,"KRW",0,null]"#,
    ];
    for body in bodies {
        let answered =
            approve_answered(ResponseTemplate::new(200).set_body_raw(body, "application/json"))
                .await;
        assert!(
            matches!(
                answered,
                Err(GatewayError::MaybeSent(LostAnswer::Unreadable(_)))
            ),
            "{body}: {answered:?}"
        );
    }
    let fields = [
        ("payment_id", json!("")),
        ("payment_id", json!("../../v1/rules")),
        ("payment_id", json!("..")),
        ("payment_id", json!("p".repeat(65))),
        ("payment_id", json!(1)),
        ("status", json!("paid")),
        ("status", json!(null)),
        ("status", json!("declined")),
        ("decline", json!({ "code": "no", "message": "No." })),
        ("amount", json!(-1_000)),
        ("amount", json!(1_000.0)),
        ("amount", json!("1000")),
        ("currency", json!("won")),
        ("refunded", json!(1_001)),
        ("refunded", json!(null)),
    ];
    for (field, value) in fields {
        let body = with(payment(), field, value);
        let answered = approve_answered(json_answer(200, &body)).await;
        assert!(
            matches!(
                answered,
                Err(GatewayError::MaybeSent(LostAnswer::Unreadable(_)))
            ),
            "{body}: {answered:?}"
        );
    }
}

#[tokio::test]
async fn invalid_utf_8_may_hide_a_capture() {
    let answer = ResponseTemplate::new(200)
        .set_body_raw(b"{\"payment_id\":\"\xff\"}".to_vec(), "application/json");
    let answered = approve_answered(answer).await;
    assert!(
        matches!(
            answered,
            Err(GatewayError::MaybeSent(LostAnswer::Unreadable(_)))
        ),
        "{answered:?}"
    );
}

#[tokio::test]
async fn another_content_type_may_hide_a_capture() {
    for content_type in [
        "text/html",
        "text/plain; charset=utf-8",
        "application/jsonp",
        "application/xml",
        "",
    ] {
        let answer = ResponseTemplate::new(200).set_body_raw(payment().to_string(), content_type);
        let answered = approve_answered(answer).await;
        let Err(GatewayError::MaybeSent(LostAnswer::ContentType(got))) = answered else {
            panic!("{content_type}: {answered:?}");
        };
        assert_eq!(got, content_type);
    }
    for content_type in [
        "application/json;charset=UTF-8",
        "Application/JSON",
        "application/hal+json",
    ] {
        let answer = ResponseTemplate::new(200).set_body_raw(payment().to_string(), content_type);
        approve_answered(answer).await.expect("JSON by any name");
    }
}

#[tokio::test]
async fn a_huge_answer_is_not_read_to_its_end() {
    let padded = |bytes: usize| {
        let mut body = payment().to_string();
        body.push_str(&" ".repeat(bytes - body.len()));
        ResponseTemplate::new(200).set_body_raw(body, "application/json")
    };
    approve_answered(padded(64 * 1024))
        .await
        .expect("64 KiB is the bound");
    for bytes in [64 * 1024 + 1, 50 << 20] {
        let answered = approve_answered(padded(bytes)).await;
        let too_large = matches!(
            answered,
            Err(GatewayError::MaybeSent(LostAnswer::TooLarge {
                bytes_max: 65_536
            }))
        );
        assert!(too_large, "{answered:?}");
    }
}

#[tokio::test]
async fn an_inquiry_prefers_the_capture_and_refuses_two() {
    let other = with(payment(), "payment_id", json!("pay-2"));
    let ask = async |payments: Value| {
        let server = server(json_answer(200, &json!({ "payments": payments }))).await;
        client(&server.uri()).inquire(ORDER).await
    };
    assert_eq!(ask(json!([])).await.expect("an answer"), None);
    for payments in [
        json!([declined(ORDER), payment()]),
        json!([payment(), declined(ORDER)]),
    ] {
        let found = ask(payments).await.expect("an answer").expect("a payment");
        assert_eq!(found.status, PaymentStatus::Approved);
        assert!(found.verify(ORDER, won(1_000)).is_ok());
        assert!(matches!(
            found.verify(ORDER, won(999)),
            Err(GatewayError::Mismatch { .. })
        ));
    }
    let found = ask(json!([declined(ORDER)]))
        .await
        .expect("an answer")
        .expect("a payment");
    assert_eq!((found.status, found.rest()), (PaymentStatus::Declined, 0));
    for payments in [
        json!([payment(), other]),
        json!([with(payment(), "order_id", json!("order-2"))]),
    ] {
        let answered = ask(payments).await;
        assert!(
            matches!(answered, Err(GatewayError::Mismatch { .. })),
            "{answered:?}"
        );
    }
    for payments in [json!(null), json!({}), json!([null]), json!([{}])] {
        let answered = ask(payments).await;
        assert!(
            matches!(
                answered,
                Err(GatewayError::MaybeSent(LostAnswer::Unreadable(_)))
            ),
            "{answered:?}"
        );
    }
}

#[tokio::test]
async fn a_refund_that_does_not_add_up_is_a_mismatch() {
    let refunded = with(payment(), "refunded", json!(300));
    let done = cancel_answered(cancelled(&refunded, 300, 700))
        .await
        .expect("a cancellation");
    assert_eq!(
        (done.amount, done.rest, done.payment.rest()),
        (won(300), 700, 700)
    );
    let answers = [
        cancelled(&refunded, 299, 700),
        cancelled(&refunded, 300, 701),
        cancelled(&with(payment(), "refunded", json!(299)), 300, 700),
        cancelled(&with(refunded.clone(), "currency", json!("USD")), 300, 700),
        cancelled(&with(refunded, "payment_id", json!("pay-2")), 300, 700),
    ];
    for answer in answers {
        let answered = cancel_answered(answer).await;
        assert!(
            matches!(answered, Err(GatewayError::Mismatch { .. })),
            "{answered:?}"
        );
    }
}
