//! A wrong configuration is one sentence that says what to do, and never repeats a secret.

use std::time::Duration;

use workflows::adapters::gateway_client::{
    GatewayConfigError, GatewaySettings, HttpPaymentGateway,
};
use workflows::ports::payment_gateway::{GatewayError, PaymentId, PaymentToken};

use crate::{ORDER, approve_request, client};

fn refused(url: &str) -> GatewayConfigError {
    HttpPaymentGateway::new(url, &GatewaySettings::default()).expect_err("a wrong URL")
}

#[test]
fn an_https_url_is_refused_with_the_way_out() {
    let error = refused("https://pay.example.com");
    assert!(matches!(error, GatewayConfigError::NoTls), "{error:?}");
    assert!(error.to_string().contains("no TLS"), "{error}");
}

#[test]
fn wrong_urls_are_refused_without_repeating_them() {
    for url in [
        "",
        "pay.example.com",
        "/v1",
        "http://",
        "http://[::1",
        "http://h:99999",
    ] {
        assert!(
            matches!(refused(url), GatewayConfigError::BadUrl { .. }),
            "{url}: {:?}",
            refused(url)
        );
    }
    for url in ["ftp://host", "file:///etc/passwd", "localhost:9090"] {
        assert!(
            matches!(refused(url), GatewayConfigError::BadScheme(_)),
            "{url}: {:?}",
            refused(url)
        );
    }
    for url in [
        "http://me:hunter2@host",
        "http://host/?key=hunter2",
        "http://host/#hunter2",
    ] {
        let error = refused(url);
        assert!(matches!(error, GatewayConfigError::Surplus(_)), "{error:?}");
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
}

#[test]
fn a_timeout_of_zero_is_refused() {
    let zero = GatewaySettings {
        request_timeout: Duration::ZERO,
        ..GatewaySettings::default()
    };
    let error = HttpPaymentGateway::new("http://127.0.0.1:9090", &zero).expect_err("zero");
    assert_eq!(
        error.to_string(),
        "the payment gateway's request time-out must be more than zero"
    );
}

#[test]
fn a_token_is_never_printed_and_a_payment_id_is_never_a_path() {
    let request = approve_request(ORDER, "tok-secret");
    assert!(!format!("{request:?} {:?}", PaymentToken::new("tok-secret")).contains("tok-secret"));
    for text in ["", ".", "..", "a/b", "a?b", "a b", "é", "%2e"] {
        assert!(PaymentId::parse(text).is_err(), "{text}");
    }
    assert_eq!(
        PaymentId::parse("pay-1._A").map(String::from).as_deref(),
        Ok("pay-1._A")
    );
}

#[tokio::test]
async fn a_key_that_is_no_header_is_refused_before_anything_is_sent() {
    let gateway = client("http://127.0.0.1:1");
    for key in ["", "a b", "a\nb", "é", &"k".repeat(256)] {
        let mut request = approve_request(ORDER, "tok-ok");
        key.clone_into(&mut request.idempotency_key);
        let refused = gateway.approve(&request).await;
        assert!(
            matches!(refused, Err(GatewayError::Rejected { status: 0, .. })),
            "{key:?}: {refused:?}"
        );
    }
}
