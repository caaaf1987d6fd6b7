//! A token is good only when everything about it is: each thing that can be wrong with it is refused, wherever tokens are
//! taken.

use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};

use super::forge::{For, KEY, base64url, now, signed, with_header};
use crate::support::http::{Answer, client, send};
use crate::support::process::{ServeSettings, Server};
use crate::support::shop::Shop;

/// Shows a token where tokens of its kind are taken.
async fn show(server: &Server, kind: For, token: &str) -> Answer {
    let (buyers, operators) = (&server.buyers, &server.operators);
    let http = client();
    send(match kind {
        For::Buyers => http
            .get(format!(
                "{buyers}/v1/purchases/00000001-0000-8000-8000-000000000000"
            ))
            .bearer_auth(token),
        For::Refreshes => http
            .post(format!("{buyers}/v1/auth/refresh"))
            .json(&json!({ "refresh_token": token })),
        For::Operators => http.get(format!("{operators}/v1/nodes")).bearer_auth(token),
    })
    .await
}

/// What a good token of this kind is answered with there.
const fn welcome(kind: For) -> u16 {
    match kind {
        For::Buyers => 404,
        For::Refreshes | For::Operators => 200,
    }
}

fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().expect("an object").remove(name);
    claims
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

/// Good claims with something missing or wrong.
fn wrong_claims(kind: For) -> Vec<(String, Value)> {
    let good = kind.claims();
    let names = good.as_object().expect("an object").keys();
    let missing = names.map(|name| (format!("without {name}"), without(&good, name)));
    let mut wrong = vec![
        ("iss", json!("another")),
        ("aud", json!("another")),
        ("aud", json!(7)),
        ("sub", json!("")),
        ("sub", json!("two\nlines")),
        ("exp", json!(now() - 60)),
        ("exp", json!("never")),
        ("exp", json!(null)),
        ("nbf", json!(now() + 60)),
    ];
    wrong.extend(match kind {
        For::Buyers => vec![("sub", json!("Not A Slug"))],
        For::Refreshes => vec![
            ("family", json!("short")),
            ("family", json!("+".repeat(32))),
            ("generation", json!(0)),
            ("generation", json!(-1)),
        ],
        For::Operators => vec![("role", json!("owner")), ("role", json!(["admin"]))],
    });
    let wrong = wrong
        .into_iter()
        .map(|(name, value)| (format!("{name} {value}"), with(&good, name, value)));
    missing.chain(wrong).collect()
}

/// Tokens with good claims that were signed wrongly.
fn wrong_signatures(kind: For) -> Vec<(String, String)> {
    let claims = kind.claims();
    let good = kind.signed(&claims);
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let payload = head.split('.').nth(1).expect("claims");
    let kind_of = kind.header_type();
    let none = base64url(
        json!({ "alg": "none", "typ": kind_of })
            .to_string()
            .as_bytes(),
    );
    let other = base64url(
        with(&claims, "sub", json!("mallory"))
            .to_string()
            .as_bytes(),
    );
    let header = head.split('.').next().expect("a header");
    let other_key = "another key for tests, as long as that";
    let named = Header {
        kid: Some("0123456789abcdef".to_owned()),
        ..kind.header(Algorithm::HS256)
    };
    let tokens = [
        ("unsigned", format!("{none}.{payload}.")),
        (
            "unsigned, with a signature",
            format!("{none}.{payload}.{signature}"),
        ),
        ("nothing but claims", format!("{head}.")),
        (
            "HS512",
            signed(&kind.header(Algorithm::HS512), &claims, KEY),
        ),
        (
            "HS384",
            signed(&kind.header(Algorithm::HS384), &claims, KEY),
        ),
        (
            "RS256 by the key's bytes",
            with_header(&json!({ "alg": "RS256", "typ": kind_of }), &good),
        ),
        (
            "a header that must be understood",
            with_header(
                &json!({ "alg": "HS256", "typ": kind_of, "crit": ["b64"] }),
                &good,
            ),
        ),
        ("no type", with_header(&json!({ "alg": "HS256" }), &good)),
        (
            "the type of any token",
            with_header(&json!({ "alg": "HS256", "typ": "JWT" }), &good),
        ),
        ("another key", kind.signed_by(other_key, &claims)),
        (
            "a key that is not ours, by name",
            signed(&named, &claims, KEY),
        ),
        ("other claims", format!("{header}.{other}.{signature}")),
        (
            "a spoiled signature",
            format!("{head}.{}", spoiled(signature)),
        ),
        ("four parts", format!("{good}.{signature}")),
        ("no token", "Bearer".to_owned()),
        ("nothing", String::new()),
        ("too long", format!("{good}{}", "a".repeat(4_000))),
    ];
    tokens.map(|(what, token)| (what.to_owned(), token)).into()
}

/// Another first letter: in the last one some bits mean nothing.
fn spoiled(signature: &str) -> String {
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{first}{}", &signature[1..])
}

#[tokio::test]
async fn a_token_with_anything_wrong_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path()).with("HOLDFAST_TOKEN_KEY", KEY);
    let server = settings.start().await;
    for kind in For::ALL {
        let good = show(&server, kind, &kind.signed(&kind.claims())).await;
        assert_eq!(good.status, welcome(kind), "{kind:?} {good:?}");
        let claims = wrong_claims(kind).into_iter();
        let claims = claims.map(|(what, claims)| (what, kind.signed(&claims)));
        for (what, token) in claims.chain(wrong_signatures(kind)) {
            let answer = show(&server, kind, &token).await;
            println!("{kind:?} {what}: {}", answer.text);
            answer.expect_problem(401, "unauthenticated");
            let says_it = token.len() > 10 && answer.text.contains(&token[token.len() - 10..]);
            assert!(!says_it, "{what}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_refresh_token_is_not_an_access_token() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path()).with("HOLDFAST_TOKEN_KEY", KEY);
    let server = settings.start().await;
    // One by one, and one of one kind that has the other's type or audience.
    for kind in For::ALL {
        for other in For::ALL.into_iter().filter(|other| *other != kind) {
            let mut everything = other.claims();
            let mine = kind.claims();
            for (name, value) in mine.as_object().expect("an object") {
                if name != "aud" {
                    everything[name] = value.clone();
                }
            }
            let of_its_type = signed(&kind.header(Algorithm::HS256), &everything, KEY);
            everything["aud"] = mine["aud"].clone();
            let of_its_audience = signed(&other.header(Algorithm::HS256), &everything, KEY);
            for token in [other.signed(&other.claims()), of_its_type, of_its_audience] {
                let answer = show(&server, kind, &token).await;
                answer.expect_problem(401, "unauthenticated");
            }
        }
    }
}

#[tokio::test]
async fn a_request_without_a_good_token_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let good = shop.token().await;
    let order = shop.order("tok-1");
    for header in [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Basic {good}")),
        Some(format!("Bearer {good} {good}")),
    ] {
        let post = shop
            .http
            .post(format!("{}/v1/purchases", shop.buyers))
            .header("idempotency-key", "k");
        let get = shop.http.get(format!(
            "{}/v1/purchases/00000001-0000-8000-8000-000000000000",
            shop.buyers
        ));
        for request in [post.json(&order), get] {
            let request = match &header {
                Some(header) => request.header("authorization", header),
                None => request,
            };
            let answer = send(request).await;
            answer.expect_problem(401, "unauthenticated");
            assert_eq!(answer.body["field"], "Authorization", "{header:?}");
        }
    }
    let twice = shop
        .http
        .get(format!("{}/v1/purchases/x", shop.buyers))
        .bearer_auth(&good)
        .bearer_auth(&good);
    send(twice).await.expect_problem(401, "unauthenticated");
}
