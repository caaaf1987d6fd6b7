//! What a buyer sends to buy: the body, read strictly, and the key that makes sending it twice the same as once.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use workflows::ports::payment_gateway::PaymentToken;
use workflows::purchase::{OrderLine, PaymentMeans};

use crate::problem::{Kind, Problem};

const KEY_BYTES_MAX: usize = 200;
const TOKEN_BYTES_MAX: usize = 256;

/// The body of `POST /v1/purchases`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct PurchaseBody {
    /// Which sale.
    pub sale: String,
    /// What of it.
    pub lines: Vec<OrderLine>,
    /// The campaign whose coupon is to be used.
    #[serde(default)]
    pub campaign: Option<String>,
    /// How it is paid.
    pub payment: PaymentBody,
}

/// How it is paid. A structure and not an enum, so that what is wrong with it gets a name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct PaymentBody {
    method: String,
    token: String,
}

impl PaymentBody {
    /// The means, if they are some that we know.
    pub fn means(&self) -> Result<PaymentMeans, Problem> {
        if self.method != "stored" {
            return Err(Problem::invalid("payment.method", "must be \"stored\""));
        }
        if !is_visible_ascii(&self.token, TOKEN_BYTES_MAX) {
            let reason = format!("must be 1 to {TOKEN_BYTES_MAX} visible ASCII characters");
            return Err(Problem::invalid("payment.token", reason));
        }
        Ok(PaymentMeans::Stored {
            token: PaymentToken::new(self.token.as_str()),
        })
    }
}

impl PurchaseBody {
    /// The SHA-256 of what the body says, whatever its spacing and the order of its fields. Each part is preceded by its
    /// length, so that no two bodies run together.
    pub fn hash(&self) -> [u8; 32] {
        let Self {
            sale,
            lines,
            campaign,
            payment,
        } = self;
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        };
        add(sale);
        add(&lines.len().to_string());
        for OrderLine { product, quantity } in lines {
            add(product);
            add(&quantity.to_string());
        }
        add(if campaign.is_some() {
            "campaign"
        } else {
            "none"
        });
        add(campaign.as_deref().unwrap_or_default());
        add(&payment.method);
        add(&payment.token);
        hash.finalize().into()
    }
}

/// The request's `Idempotency-Key` (IETF draft-ietf-httpapi-idempotency-key-header).
pub struct IdempotencyKey(pub String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let (first, second) = (values.next(), values.next());
        let key = first
            .and_then(|value| value.to_str().ok())
            .filter(|key| is_visible_ascii(key, KEY_BYTES_MAX));
        match (key, second) {
            (Some(key), None) => Ok(Self(key.to_owned())),
            _ => Err(Problem::new(
                Kind::IDEMPOTENCY_KEY_REQUIRED,
                format!(
                    "send one Idempotency-Key of 1 to {KEY_BYTES_MAX} visible ASCII characters, new for each purchase \
                     and the same for each repeat"
                ),
            )
            .with_field("Idempotency-Key")),
        }
    }
}

fn is_visible_ascii(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json;

    fn body(text: &str) -> PurchaseBody {
        json(text.as_bytes())
            .map_err(|problem| format!("{problem:?}"))
            .unwrap()
    }

    #[test]
    fn the_hash_is_of_what_is_said_and_not_of_how() {
        let one = body(
            r#"{"sale":"s","lines":[{"product":"p","quantity":1}],"payment":{"method":"stored","token":"t"}}"#,
        );
        let same = body(
            r#" { "payment" : {"token":"t", "method":"stored"}, "campaign": null,
                "lines" : [ {"quantity": 1, "product": "\u0070"} ], "sale" : "s" } "#,
        );
        assert_eq!(one.hash(), same.hash());
    }

    #[test]
    fn every_part_counts_for_the_hash() {
        let text = r#"{"sale":"s","lines":[{"product":"p","quantity":1}],"campaign":"c","payment":{"method":"stored","token":"t"}}"#;
        let original = body(text).hash();
        for (part, other) in [
            (r#""s""#, r#""s2""#),
            (r#""p""#, r#""p2""#),
            (":1}", ":2}"),
            (r#""c""#, r#""c2""#),
            (r#""c""#, "null"),
            (r#""t""#, r#""t2""#),
        ] {
            assert_ne!(
                body(&text.replace(part, other)).hash(),
                original,
                "{part} -> {other}"
            );
        }
    }
}
