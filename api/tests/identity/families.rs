//! Refresh tokens are good once, on whichever node they are shown, and one that comes twice ends everything that came of its
//! sign-in.

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::forge::{For, KEY};
use crate::support::http::{Answer, client, send};
use crate::support::process::{ServeSettings, Server};
use crate::support::servers::Servers;

/// Several refreshes at once.
const PARALLEL: usize = 8;

/// The nodes of one shop: an embedded one, or two over the same servers.
struct Nodes {
    servers: Vec<Server>,
    http: Client,
    _folder: TempDir,
}

impl Nodes {
    async fn embedded() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = [ServeSettings::embedded(folder.path())];
        Self::start(&settings, folder).await
    }

    /// `None` where there are no servers.
    async fn on_real_servers() -> Option<Self> {
        let servers = Servers::from_environment()?;
        let folder = tempfile::tempdir().expect("a folder");
        let settings = ["one", "two"].map(|name| servers.serve(&folder.path().join(name)));
        Some(Self::start(&settings, folder).await)
    }

    async fn start(settings: &[ServeSettings], folder: TempDir) -> Self {
        let mut servers = Vec::new();
        for node in settings {
            servers.push(node.start().await);
        }
        Self {
            servers,
            http: client(),
            _folder: folder,
        }
    }

    /// Each stack that is there, one after the other.
    async fn everywhere() -> Vec<Self> {
        let mut all = vec![Self::embedded().await];
        all.extend(Self::on_real_servers().await);
        all
    }

    /// Where buyers are served by the node whose turn it is.
    fn buyers(&self, turn: usize) -> &str {
        &self.servers[turn % self.servers.len()].buyers
    }

    async fn sign_in(&self) -> Value {
        let url = format!("{}/v1/auth/anonymous", self.buyers(0));
        let answer = send(self.http.post(url)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body
    }

    async fn refresh(&self, turn: usize, grant: &Value) -> Answer {
        refresh(&self.http, self.buyers(turn), grant).await
    }

    /// A refresh that succeeds.
    async fn refreshed(&self, turn: usize, grant: &Value) -> Value {
        let answer = self.refresh(turn, grant).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    async fn expect_revoked(&self, turn: usize, grant: &Value) {
        expect_revoked(&self.refresh(turn, grant).await);
    }
}

async fn refresh(http: &Client, buyers: &str, grant: &Value) -> Answer {
    let body = json!({ "refresh_token": grant["refresh_token"] });
    send(http.post(format!("{buyers}/v1/auth/refresh")).json(&body)).await
}

fn expect_revoked(answer: &Answer) {
    answer.expect_problem(401, "unauthenticated");
    assert_eq!(answer.body["field"], "refresh_token", "{answer:?}");
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("sign in again"), "{answer:?}");
}

#[tokio::test]
async fn a_refresh_gives_the_same_buyer_new_tokens_on_any_node() {
    for nodes in Nodes::everywhere().await {
        let mut grant = nodes.sign_in().await;
        assert_eq!(grant["token"], grant["access_token"], "{grant}");
        assert_eq!(grant["token_type"], "Bearer", "{grant}");
        for turn in 1..=5 {
            let next = nodes.refreshed(turn, &grant).await;
            assert_eq!(next["buyer"], grant["buyer"]);
            assert_ne!(next["refresh_token"], grant["refresh_token"]);
            let url = format!("{}/v1/purchases/unknown", nodes.buyers(turn + 1));
            let token = next["access_token"].as_str().expect("a token");
            let answer = send(nodes.http.get(url).bearer_auth(token)).await;
            answer.expect_problem(404, "not-found");
            grant = next;
        }
    }
}

#[tokio::test]
async fn an_old_refresh_token_revokes_the_whole_family_and_no_other() {
    for nodes in Nodes::everywhere().await {
        for used in 0..3 {
            let (mut grants, other) = (vec![nodes.sign_in().await], nodes.sign_in().await);
            for turn in 0..3 {
                grants.push(nodes.refreshed(turn, &grants[turn]).await);
            }
            nodes.expect_revoked(used, &grants[used]).await;
            for (turn, grant) in grants.iter().enumerate() {
                nodes.expect_revoked(turn, grant).await;
            }
            let other = nodes.refreshed(used, &other).await;
            nodes.refreshed(used + 1, &other).await;
        }
    }
}

#[tokio::test]
async fn of_parallel_refreshes_one_wins_and_the_others_end_the_family() {
    for nodes in Nodes::everywhere().await {
        // The first refresh of a family makes its row, the second changes it.
        for earlier in 0..2 {
            let mut grant = nodes.sign_in().await;
            for turn in 0..earlier {
                grant = nodes.refreshed(turn, &grant).await;
            }
            let mut racers = JoinSet::new();
            for turn in 0..PARALLEL {
                let (http, buyers) = (nodes.http.clone(), nodes.buyers(turn).to_owned());
                let grant = grant.clone();
                racers.spawn(async move { refresh(&http, &buyers, &grant).await });
            }
            let answers = racers.join_all().await;
            let (won, lost): (Vec<_>, Vec<_>) =
                answers.into_iter().partition(|answer| answer.status == 200);
            assert_eq!(won.len(), 1, "{won:?} {lost:?}");
            lost.iter().for_each(expect_revoked);
            nodes.expect_revoked(earlier, &won[0].body).await;
        }
    }
}

#[tokio::test]
async fn a_restart_keeps_families() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path());
    let server = settings.start().await;
    let http = client();
    let url = format!("{}/v1/auth/anonymous", server.buyers);
    let first = send(http.post(url)).await.body;
    let second = refresh(&http, &server.buyers, &first).await.body;
    server.process.kill().await;
    let server = settings.start().await;
    let third = refresh(&http, &server.buyers, &second).await;
    assert_eq!(third.status, 200, "{third:?}");
    expect_revoked(&refresh(&http, &server.buyers, &first).await);
    server.process.kill().await;
    let server = settings.start().await;
    expect_revoked(&refresh(&http, &server.buyers, &third.body).await);
}

#[tokio::test]
async fn a_family_that_nobody_knows_has_no_second_token() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path()).with("HOLDFAST_TOKEN_KEY", KEY);
    let server = settings.start().await;
    let mut claims = For::Refreshes.claims();
    claims["generation"] = json!(2);
    let grant = json!({ "refresh_token": For::Refreshes.signed(&claims) });
    expect_revoked(&refresh(&client(), &server.buyers, &grant).await);
}

#[tokio::test]
async fn a_bad_refresh_is_4xx_that_names_what_is_wrong() {
    let nodes = Nodes::embedded().await;
    let url = format!("{}/v1/auth/refresh", nodes.buyers(0));
    for (body, status, slug, field) in [
        (json!({}), 422, "invalid-field", "refresh_token"),
        (
            json!({ "refresh_token": 7 }),
            422,
            "invalid-field",
            "refresh_token",
        ),
        (
            json!({ "refresh_token": "x", "buyer": "a" }),
            422,
            "invalid-field",
            "buyer",
        ),
        (
            json!({ "refresh_token": "x" }),
            401,
            "unauthenticated",
            "refresh_token",
        ),
        (json!([]), 422, "invalid-field", "body"),
    ] {
        let answer = send(nodes.http.post(&url).json(&body)).await;
        answer.expect_problem(status, slug);
        assert_eq!(answer.body["field"], field, "{body}: {answer:?}");
    }
}
