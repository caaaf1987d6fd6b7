//! A prepared payment is a page of exactly our order and amount, or it is not understood.

use engine::Timestamp;
use serde_json::{Value, json};
use wiremock::matchers::{body_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};
use workflows::adapters::gateway_client::{
    GatewayConfigError, GatewaySettings, HttpPaymentGateway,
};
use workflows::ports::payment_gateway::{GatewayError, LostAnswer, PaymentGateway as _, Prepared};

use crate::{ORDER, client, json_answer, prepare_request, server, with};

fn reserved() -> Value {
    json!({
        "reservation_id": "rsv-1", "order_id": ORDER, "amount": 1_000, "currency": "KRW",
        "expires_at": "2030-01-01T00:00:00Z", "redirect_url": "https://pay.example/pay/rsv-1",
    })
}

async fn prepare_answered(answer: ResponseTemplate) -> Result<Prepared, GatewayError> {
    client(&server(answer).await.uri())
        .prepare(&prepare_request(ORDER))
        .await
}

#[tokio::test]
async fn the_page_is_passed_on_as_it_came() {
    let prepared = prepare_answered(json_answer(200, &reserved())).await;
    assert_eq!(
        prepared.expect("a page").redirect_url,
        "https://pay.example/pay/rsv-1"
    );
}

#[tokio::test]
async fn a_page_of_something_else_or_no_page_is_the_gateways_word_about_this_payment() {
    let odd = [
        with(reserved(), "order_id", json!("order-2")),
        with(reserved(), "amount", json!(999)),
        with(reserved(), "currency", json!("USD")),
        with(reserved(), "redirect_url", json!("")),
        with(reserved(), "redirect_url", json!("/pay/rsv-1")),
        with(reserved(), "redirect_url", json!("javascript:alert(1)")),
        with(
            reserved(),
            "redirect_url",
            json!("https://user@pay.example/"),
        ),
        with(
            reserved(),
            "redirect_url",
            json!("https://pay.example/\r\nx: y"),
        ),
        with(
            reserved(),
            "redirect_url",
            json!(format!("https://pay.example/{}", "a".repeat(2_048))),
        ),
    ];
    for body in odd {
        let answered = prepare_answered(json_answer(200, &body)).await;
        let Err(error @ GatewayError::WrongPage(_)) = answered else {
            panic!("{body}: {answered:?}")
        };
        assert!(!error.known_without_effect(), "{body}");
    }
}

#[tokio::test]
async fn an_answer_that_can_not_be_read_is_not_understood() {
    let odd = [
        with(reserved(), "redirect_url", json!(null)),
        json!({}),
        json!([]),
    ];
    for body in odd {
        let lost = prepare_answered(json_answer(200, &body)).await;
        assert!(
            matches!(
                lost,
                Err(GatewayError::MaybeSent(LostAnswer::Unreadable(_)))
            ),
            "{body}: {lost:?}"
        );
    }
    for status in [201, 204, 302, 500, 503] {
        let lost = prepare_answered(json_answer(status, &reserved())).await;
        assert!(
            matches!(lost, Err(GatewayError::MaybeSent(_))),
            "{status}: {lost:?}"
        );
    }
}

#[tokio::test]
async fn the_request_is_what_the_gateway_documents() {
    let server = MockServer::start().await;
    let body = json!({
        "order_id": ORDER, "amount": 1_000, "currency": "KRW", "expires_at": "2030-01-01T00:00:00Z",
        "return_url": "http://shop.example/back", "webhook_url": "http://shop.example/hook",
    });
    Mock::given(method("POST"))
        .and(path("/v1/payments/reserve"))
        .and(header("idempotency-key", "order-1/prepare"))
        .and(body_json(body))
        .respond_with(json_answer(200, &reserved()))
        .expect(1)
        .mount(&server)
        .await;
    let settings = GatewaySettings {
        return_url: Some("http://shop.example/back".to_owned()),
        webhook_url: Some("http://shop.example/hook".to_owned()),
        ..GatewaySettings::default()
    };
    let gateway = HttpPaymentGateway::new(&server.uri(), &settings).expect("a client");
    gateway
        .prepare(&prepare_request(ORDER))
        .await
        .expect("a page");
}

#[tokio::test]
async fn a_time_that_no_calendar_has_is_refused_before_anything_is_sent() {
    let mut request = prepare_request(ORDER);
    request.expires_at = Timestamp(i64::MAX);
    let refused = client("http://127.0.0.1:1").prepare(&request).await;
    assert!(
        matches!(refused, Err(GatewayError::Rejected { status: 0, .. })),
        "{refused:?}"
    );
}

#[test]
fn a_return_url_that_a_browser_could_not_follow_is_refused() {
    for url in [
        "",
        "/back",
        "shop.example/back",
        "javascript:alert(1)",
        "http://a:b@shop.example/",
    ] {
        let settings = GatewaySettings {
            return_url: Some(url.to_owned()),
            ..GatewaySettings::default()
        };
        let refused = HttpPaymentGateway::new("http://127.0.0.1:9090", &settings);
        assert!(
            matches!(refused, Err(GatewayConfigError::BadTarget("return URL"))),
            "{url}: {refused:?}"
        );
    }
}
