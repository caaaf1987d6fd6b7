//! What a payment gateway answers, byte by byte: a capture counts only when it is ours to the unit, whatever else stands around it,
//! and what a gateway says goes no further than a sentence.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use workflows::adapters::gateway_client::{GatewaySettings, HttpPaymentGateway};
use workflows::domain::money::{Currency, Money};
use workflows::ports::payment_gateway::{
    Approval, ApproveRequest, CancelRequest, GatewayError, PaymentGateway, PaymentId,
    PaymentStatus, PaymentToken, PrepareRequest,
};

use crate::mutate::{Target, Verdict};
use crate::short;
use crate::web_address::is_web_address;

const ORDER: &str = "order-1";
const KEY: &str = "order-1/payment";

fn won(amount: u64) -> Money {
    Money::new(amount, Currency::parse("KRW").expect("a currency"))
}

/// A gateway that answers everybody with the same bytes, and closes.
struct Parrot {
    runtime: Runtime,
    says: Arc<Mutex<Vec<u8>>>,
    client: HttpPaymentGateway,
}

impl Parrot {
    fn new() -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let says = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&says);
        runtime.spawn(answer(listener, said));
        let settings = GatewaySettings {
            request_timeout: Duration::from_millis(300),
            pool_idle_max: 0,
            ..GatewaySettings::default()
        };
        let client = HttpPaymentGateway::new(&format!("http://{address}"), &settings);
        Self {
            runtime,
            says,
            client: client.expect("a client"),
        }
    }

    /// All four calls, answered by these bytes; whether one of them made sense.
    fn check(&self, bytes: &[u8]) -> Verdict {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = bytes.to_vec();
        self.runtime.block_on(async {
            let told = [
                approved(&self.client).await?,
                found(&self.client).await?,
                prepared(&self.client).await?,
                cancelled(&self.client).await?,
            ];
            Ok(told.contains(&true))
        })
    }
}

async fn answer(listener: TcpListener, says: Arc<Mutex<Vec<u8>>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let says = says.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut request = [0; 4_096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(&says).await;
        let _ = stream.shutdown().await;
        // What the client still sends is read, so that it is not told of a reset before it has read the answer.
        while matches!(stream.read(&mut request).await, Ok(1..)) {}
    }
}

fn refused(error: &GatewayError) -> Result<bool, String> {
    if let GatewayError::Busy { retry_after } = error
        && retry_after.is_some_and(|after| after > Duration::from_hours(1))
    {
        return Err(format!("it waits for {retry_after:?}"));
    }
    short(error).map(|()| false)
}

fn is_sentence(text: &str) -> bool {
    text.chars().count() <= 256 && !text.chars().any(char::is_control)
}

async fn approved(client: &HttpPaymentGateway) -> Result<bool, String> {
    let request = ApproveRequest {
        order_id: ORDER.into(),
        idempotency_key: KEY.into(),
        amount: won(1_000),
        payment_token: PaymentToken::new("tok-1"),
    };
    match client.approve(&request).await {
        Ok(Approval::Approved(record)) => {
            let is_ours = record.order_id == ORDER
                && record.amount == won(1_000)
                && record.status == PaymentStatus::Approved
                && record.refunded == 0;
            if is_ours {
                Ok(true)
            } else {
                Err(format!("paid: {record}"))
            }
        }
        Ok(Approval::Declined { code, message }) if is_sentence(&code) && is_sentence(&message) => {
            Ok(true)
        }
        Ok(Approval::Declined { code, message }) => Err(format!(
            "declined with {} and {} bytes",
            code.len(),
            message.len()
        )),
        Err(error) => refused(&error),
    }
}

async fn found(client: &HttpPaymentGateway) -> Result<bool, String> {
    match client.inquire(ORDER).await {
        Ok(None) => Ok(true),
        Ok(Some(record)) => {
            let declined = record.decline.as_ref();
            let is_sound = record.order_id == ORDER
                && record.refunded <= record.amount.amount
                && declined.is_some() == (record.status == PaymentStatus::Declined)
                && declined.is_none_or(|why| is_sentence(&why.code) && is_sentence(&why.message));
            if is_sound {
                Ok(true)
            } else {
                Err(format!("found: {record}"))
            }
        }
        Err(error) => refused(&error),
    }
}

async fn prepared(client: &HttpPaymentGateway) -> Result<bool, String> {
    let request = PrepareRequest {
        order_id: ORDER.into(),
        idempotency_key: KEY.into(),
        amount: won(1_000),
        expires_at: Timestamp(1_767_225_600_000_000),
    };
    match client.prepare(&request).await {
        Ok(prepared) => is_web_address(&prepared.redirect_url).map(|()| true),
        Err(error) => refused(&error),
    }
}

async fn cancelled(client: &HttpPaymentGateway) -> Result<bool, String> {
    let request = CancelRequest {
        payment_id: PaymentId::parse("pay-1").expect("an id"),
        idempotency_key: KEY.into(),
        amount: won(400),
        expected_rest: 600,
    };
    match client.cancel(&request).await {
        Ok(done) => {
            let is_ours = done.payment.payment_id == request.payment_id
                && done.amount == won(400)
                && done.rest == 600
                && done.payment.rest() == 600;
            if is_ours {
                Ok(true)
            } else {
                Err(format!("given back: {done:?}"))
            }
        }
        Err(error) => refused(&error),
    }
}

#[test]
fn an_answer_of_the_gateway_counts_only_when_it_is_ours() {
    let parrot = Parrot::new();
    let words = [
        "\"order-1\"",
        "\"pay-1\"",
        "\"approved\"",
        "\"cancelled\"",
        "\"declined\"",
        "\"decline\"",
        "\"refunded\"",
        "\"redirect_url\"",
        "\"http:pay\"",
        "\"https:/pay.example/\"",
        "\"https://a:b@pay.example/\"",
        "\"javascript:alert(1)\"",
        "200",
        "204",
        "404",
        "409",
        "429",
        "503",
        "application/json",
        "retry-after: 99999999999999999999\r\n",
        "transfer-encoding: chunked\r\n",
        "content-length: 18446744073709551615\r\n",
        "content-encoding: gzip\r\n",
        "\r\n",
    ];
    Target {
        one_in: 4,
        ..Target::new("gateway", &words)
    }
    .fuzz(|bytes| parrot.check(bytes));
}

#[test]
fn a_configured_url_is_absolute_or_refused() {
    let words = [
        "http:", "https:", "//", "///", "\\", "@", "%00", "[::1]", "..", "#", "?", ":99999",
        "xn--", "\u{3002}",
    ];
    Target::new("url", &words).fuzz(|bytes| {
        let Ok(url) = std::str::from_utf8(bytes) else {
            return Ok(false);
        };
        if let Err(error) = HttpPaymentGateway::new(url, &GatewaySettings::default()) {
            short(&error)?;
        }
        let settings = GatewaySettings {
            return_url: Some(url.to_owned()),
            ..GatewaySettings::default()
        };
        match HttpPaymentGateway::new("http://127.0.0.1:9", &settings) {
            Ok(_) => is_web_address(url).map(|()| true),
            Err(error) => short(&error).map(|()| false),
        }
    });
}
