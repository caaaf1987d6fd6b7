//! What a buyer sends to buy: the body, read strictly, and the key that makes sending it twice the same as once.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use workflows::domain::address::AddressForm;
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
    /// Where the goods go; without it nothing is shipped.
    #[serde(default)]
    pub address: Option<AddressForm>,
    /// How it is paid.
    pub payment: PaymentBody,
}

/// How it is paid. A structure and not an enum, so that what is wrong with it gets a name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct PaymentBody {
    method: String,
    #[serde(default)]
    token: Option<String>,
}

impl PaymentBody {
    /// The means, if they are some that we know.
    pub fn means(&self) -> Result<PaymentMeans, Problem> {
        match (self.method.as_str(), &self.token) {
            ("redirect", None) => Ok(PaymentMeans::Redirect),
            ("redirect", Some(_)) => Err(Problem::invalid(
                "payment.token",
                "belongs to `stored`: who is sent to the gateway has none yet",
            )),
            ("stored", Some(token)) if is_visible_ascii(token, TOKEN_BYTES_MAX) => {
                Ok(PaymentMeans::Stored {
                    token: PaymentToken::new(token.as_str()),
                })
            }
            ("stored", Some(_)) => {
                let reason = format!("must be 1 to {TOKEN_BYTES_MAX} visible ASCII characters");
                Err(Problem::invalid("payment.token", reason))
            }
            ("stored", None) => Err(Problem::invalid("payment.token", "missing field `token`")),
            _ => Err(Problem::invalid(
                "payment.method",
                "must be \"stored\" or \"redirect\"",
            )),
        }
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
            address,
            payment,
        } = self;
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        };
        let option = |part: &Option<String>| match part {
            Some(text) => format!("given {text}"),
            None => "none".to_owned(),
        };
        add(sale);
        add(&lines.len().to_string());
        for OrderLine { product, quantity } in lines {
            add(product);
            add(&quantity.to_string());
        }
        add(&option(campaign));
        if let Some(AddressForm {
            name,
            address,
            zip,
            phone,
            memo,
        }) = address
        {
            for part in [name, address, zip, phone, &option(memo)] {
                add(part);
            }
        }
        add(&payment.method);
        add(&option(&payment.token));
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
                    "send one Idempotency-Key of 1 to {KEY_BYTES_MAX} visible ASCII characters, new for each thing that is \
                     to be done and the same for each repeat"
                ),
            )
            .with_field("Idempotency-Key")),
        }
    }
}

pub fn is_visible_ascii(text: &str, bytes_max: usize) -> bool {
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
        let text = r#"{"sale":"s","lines":[{"product":"p","quantity":1}],"campaign":"c",
            "address":{"name":"n","address":"a","zip":"z","phone":"h","memo":"m"},
            "payment":{"method":"stored","token":"t"}}"#;
        let original = body(text).hash();
        for (part, other) in [
            (r#""s""#, r#""s2""#),
            (r#""p""#, r#""p2""#),
            (":1}", ":2}"),
            (r#""c""#, r#""c2""#),
            (r#""c""#, "null"),
            (r#""n""#, r#""n2""#),
            (r#""z""#, r#""z2""#),
            (r#""m""#, r#""m2""#),
            (r#""m""#, "null"),
            (r#""t""#, r#""t2""#),
            (r#""t""#, "null"),
            ("stored", "redirect"),
        ] {
            assert_ne!(
                body(&text.replace(part, other)).hash(),
                original,
                "{part} -> {other}"
            );
        }
    }

    #[test]
    fn a_means_of_payment_has_what_belongs_to_it() {
        for (payment, field) in [
            (r#"{"method":"stored"}"#, "payment.token"),
            (r#"{"method":"stored","token":""}"#, "payment.token"),
            (r#"{"method":"stored","token":"a b"}"#, "payment.token"),
            (r#"{"method":"redirect","token":"t"}"#, "payment.token"),
            (r#"{"method":"cash"}"#, "payment.method"),
        ] {
            let body = body(&format!(r#"{{"sale":"s","lines":[],"payment":{payment}}}"#));
            let problem = format!("{:?}", body.payment.means().expect_err(payment));
            let named = format!("field: Some(\"{field}\")");
            assert!(problem.contains(&named), "{problem}");
        }
        let redirect = body(r#"{"sale":"s","lines":[],"payment":{"method":"redirect"}}"#);
        assert_eq!(redirect.payment.means().unwrap(), PaymentMeans::Redirect);
    }
}
