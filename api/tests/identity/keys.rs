//! Where keys and tokens come from: nothing is believed that is in the program's text, keys change without anybody being
//! signed out, and the command line finds the operators' token or says where to get one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::forge::{For, KEY};
use crate::support::PATIENCE;
use crate::support::http::{client, client_with, get, send};
use crate::support::process::{ServeSettings, run};
use crate::support::shop::Shop;

const NEW_KEY: &str = "the key after that, also of 32 bytes or more";

#[tokio::test]
async fn no_default_secret_in_production() {
    let folder = tempfile::tempdir().unwrap();
    let production = ServeSettings::embedded(folder.path())
        .with("DATABASE_URL", "mysql://root@127.0.0.1:1/x")
        .with("REDIS_URL", "redis://127.0.0.1:1")
        .with("KAFKA_BROKERS", "127.0.0.1:1");
    for settings in [
        production.clone(),
        production.clone().with("HOLDFAST_TOKEN_KEY", ""),
        production.clone().with("HOLDFAST_TOKEN_KEY_PREVIOUS", KEY),
    ] {
        let (status, errors) = settings.spawn().ended(PATIENCE).await;
        assert_eq!(status.code(), Some(2), "{errors}");
        assert!(errors.contains("HOLDFAST_TOKEN_KEY"), "{errors}");
    }
    let none = run(
        &[
            "token",
            "--role",
            "admin",
            "--subject",
            "x",
            "--data-dir",
            "/nowhere",
        ],
        &BTreeMap::new(),
    )
    .await;
    assert_eq!(none.status.code(), Some(2), "{none:?}");
    let compose = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compose.yml");
    let compose = fs::read_to_string(compose).expect("the servers of production");
    assert!(compose.contains("${HOLDFAST_TOKEN_KEY:?"), "{compose}");
    // Two embedded shops have keys of their own.
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let (one, two) = (ServeSettings::embedded(&one), ServeSettings::embedded(&two));
    let (first, second) = (one.start().await, two.start().await);
    let stranger = client_with(&first.operator_token);
    let answer = get(&stranger, format!("{}/v1/nodes", second.operators)).await;
    answer.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn keys_are_rotated_without_signing_anybody_out() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = || ServeSettings::embedded(folder.path());
    let before = embedded().with("HOLDFAST_TOKEN_KEY", KEY);
    let during = embedded()
        .with("HOLDFAST_TOKEN_KEY", NEW_KEY)
        .with("HOLDFAST_TOKEN_KEY_PREVIOUS", KEY);
    let after = embedded().with("HOLDFAST_TOKEN_KEY", NEW_KEY);

    let server = before.start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let old = send(shop.http.post(format!("{}/v1/auth/anonymous", shop.buyers)))
        .await
        .body;
    let old_token = old["access_token"].as_str().expect("a token").to_owned();
    server.process.kill().await;

    let server = during.start().await;
    let shop = shop.moved_to(&server);
    let bought = shop.buy(&old_token, "k", &shop.order("tok-1")).await;
    assert_eq!(bought.status, 202, "{bought:?}");
    let url = format!("{}/v1/auth/refresh", shop.buyers);
    let body = serde_json::json!({ "refresh_token": old["refresh_token"] });
    let new = send(shop.http.post(url).json(&body)).await;
    assert_eq!(new.status, 200, "{new:?}");
    let new_token = new.body["access_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    server.process.kill().await;

    let server = after.start().await;
    let shop = shop.moved_to(&server);
    let id = bought.body["id"].as_str().expect("an id");
    let ask = async |token: &str| {
        let url = format!("{}/v1/purchases/{id}", shop.buyers);
        send(shop.http.get(url).bearer_auth(token)).await
    };
    assert_eq!(ask(&new_token).await.status, 200);
    ask(&old_token).await.expect_problem(401, "unauthenticated");
    let by_old_key = For::Operators.signed_by(KEY, &For::Operators.claims());
    let answer = get(
        &client_with(&by_old_key),
        format!("{}/v1/nodes", shop.operators),
    )
    .await;
    answer.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_command_line_finds_the_token_of_a_server_on_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path());
    let mut server = settings.start().await;
    let token = server.process.line("token ").await;
    let path = folder.path().join("operator-token");
    assert!(token.ends_with(&path.display().to_string()), "{token}");
    let mode = fs::metadata(&path).expect("the token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let data_dir = folder.path().display().to_string();
    let nodes = async |folder: &str, token: Option<&str>| {
        let url = ("HOLDFAST_OPERATORS_URL", server.operators.as_str());
        let token = token.map(|token| ("HOLDFAST_OPERATOR_TOKEN", token));
        let variables = [url].into_iter().chain(token);
        let variables: BTreeMap<String, String> = variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let output = run(&["nodes", "--data-dir", folder], &variables).await;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), errors)
    };
    assert_eq!(nodes(&data_dir, None).await.0, Some(0));
    let (code, sentence) = nodes("/nowhere", None).await;
    assert_eq!(code, Some(2), "{sentence}");
    assert!(sentence.contains("holdfast token --role"), "{sentence}");
    assert_eq!(sentence.trim().lines().count(), 1, "{sentence}");
    assert_eq!(
        nodes("/nowhere", Some(&server.operator_token)).await.0,
        Some(0)
    );
    let (code, sentence) = nodes(&data_dir, Some("no-token-at-all")).await;
    assert_eq!(code, Some(6), "{sentence}");
    assert!(!sentence.contains("no-token-at-all"), "{sentence}");
    assert_ne!(read(&path), server.operator_token);

    // Probes need no token.
    let url = (
        "HOLDFAST_OPERATORS_URL".to_owned(),
        server.operators.clone(),
    );
    let ready = run(&["ready"], &BTreeMap::from([url])).await;
    assert!(ready.status.success(), "{ready:?}");

    // Each start makes it anew.
    server.process.kill().await;
    fs::write(&path, "an old one").expect("the token");
    let server = settings.start().await;
    let token = client_with(&read(&path));
    let answer = get(&token, format!("{}/v1/nodes", server.operators)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("the token")
}

#[tokio::test]
async fn secrets_are_in_no_log_and_in_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path())
        .with("HOLDFAST_TOKEN_KEY", KEY)
        .with("HOLDFAST_TOKEN_KEY_PREVIOUS", NEW_KEY)
        .with("RUST_LOG", "trace");
    let mut server = settings.start().await;
    let http = client();
    let grant = send(http.post(format!("{}/v1/auth/anonymous", server.buyers)))
        .await
        .body;
    let body = serde_json::json!({ "refresh_token": grant["refresh_token"] });
    let url = format!("{}/v1/auth/refresh", server.buyers);
    let mut texts = Vec::new();
    for _ in 0..2 {
        let answer = send(http.post(&url).json(&body)).await;
        if answer.status != 200 {
            texts.push(answer.text);
        }
    }
    let nodes = format!("{}/v1/nodes", server.operators);
    let buyers_token = grant["access_token"].as_str().expect("a token").to_owned();
    texts.push(get(&client_with(&buyers_token), nodes.clone()).await.text);
    texts.push(get(&client_with(&server.operator_token), nodes).await.text);
    let logged = server.process.line_of_errors("").await;
    server.process.signal("TERM").await;
    let (operator_token, first_line) = (server.operator_token, logged);
    let (_, errors) = server.process.ended(PATIENCE).await;
    assert!(
        errors.contains("refresh token was used twice"),
        "{first_line}"
    );
    texts.push(errors);
    let secrets = [
        KEY,
        NEW_KEY,
        &buyers_token,
        grant["refresh_token"].as_str().expect("a token"),
        &operator_token,
    ];
    for secret in secrets {
        let end = &secret[secret.len() - 12..];
        for text in &texts {
            assert!(!text.contains(end), "{end} is shown");
        }
    }
}
