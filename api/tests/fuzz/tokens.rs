//! Tokens: one that anybody has touched is good for nothing, and one that the shop's key has signed is good only when all that it
//! says makes sense.

use jsonwebtoken::{Algorithm, EncodingKey};

use super::mutate::Target;
use super::wire::{Request, bearer, header};
use super::{Door, fuzz, is_sound};
use crate::identity::forge::{For, KEY, base64url};
use crate::support::process::ServeSettings;

/// A token of exactly these bytes, signed well.
fn signed(header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", base64url(header), base64url(claims));
    let key = EncodingKey::from_secret(KEY.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", signature.expect("a signature"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn no_token_that_was_touched_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path()).with("HOLDFAST_TOKEN_KEY", KEY);
    let server = settings.start().await;
    let (buyers, operators) = (Door::of(&server.buyers), Door::of(&server.operators));
    let show = |kind: For, line: Vec<u8>| {
        let (door, target) = match kind {
            For::Operators => (&operators, &b"/v1/nodes"[..]),
            For::Buyers | For::Refreshes => (&buyers, &b"/v1/me/purchases"[..]),
        };
        door.answer(&Request {
            method: "GET",
            target,
            headers: vec![line],
            body: None,
        })
    };
    for (kind, other) in [(For::Buyers, For::Operators), (For::Operators, For::Buyers)] {
        let good = kind.signed(&kind.claims());
        let others = [
            other.signed(&other.claims()),
            For::Refreshes.signed(&For::Refreshes.claims()),
        ];
        let made = others
            .into_iter()
            .chain([good.clone()])
            .map(|token| format!("Bearer {token}").into_bytes());
        let words = [
            "Bearer",
            "bearer ",
            "Basic ",
            ".",
            "=",
            "eyJhbGciOiJub25lIn0",
            "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9",
        ];
        let target = Target {
            made: made.collect(),
            one_in: 2,
            ..Target::new("authorization", &words)
        };
        fuzz(target, |value| {
            let answered = show(kind, header("authorization", value))?;
            let is_good = String::from_utf8_lossy(value)
                .split_whitespace()
                .next_back()
                == Some(&*good);
            match answered.status {
                200 if is_good => Ok(true),
                // Signs that no header may have are HTTP's to refuse.
                400 | 401 | 431 => answered.judge(),
                status => Err(format!("{status} for a token that is not ours")),
            }
        });
        let jose = serde_json::to_vec(&kind.header(Algorithm::HS256)).expect("JSON");
        let made = vec![serde_json::to_vec(&kind.claims()).expect("JSON")];
        let words = [
            "\"exp\"",
            "\"nbf\"",
            "\"aud\"",
            "\"sub\"",
            "\"iss\"",
            "\"role\"",
            "\"admin\"",
            "\"holdfast\"",
            "9999999999",
            "\"alice\"",
        ];
        fuzz(
            Target {
                made,
                one_in: 4,
                ..Target::new("claims", &words)
            },
            |claims| show(kind, bearer(&signed(&jose, claims)))?.judge(),
        );
        let claims = serde_json::to_vec(&kind.claims()).expect("JSON");
        let words = [
            "\"alg\"",
            "\"HS256\"",
            "\"none\"",
            "\"HS512\"",
            "\"typ\"",
            "\"JWT\"",
            "\"kid\"",
            "\"crit\"",
            "\"jwk\"",
            "\"jku\"",
            "\"x5c\"",
        ];
        fuzz(
            Target {
                made: vec![jose.clone()],
                one_in: 4,
                ..Target::new("jose", &words)
            },
            |jose| {
                let answered = show(kind, bearer(&signed(jose, &claims)))?;
                let says = |words: &str| {
                    String::from_utf8_lossy(jose)
                        .to_ascii_lowercase()
                        .contains(words)
                };
                if answered.status == 200 && !(says("hs256") && says(kind.header_type())) {
                    return Err("good with a header of another kind".to_owned());
                }
                answered.judge()
            },
        );
    }
    is_sound(server).await;
}
