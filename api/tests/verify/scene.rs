//! A sale with its gateway, and the way to check it.

use std::collections::BTreeMap;
use std::process::Output;

use engine::store::{ConnectOptions, Row, SqlDatabase, Value as Cell, mysql};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::http::{get, send};
use crate::support::process::{Running, ServeSettings, Server, holdfast, run};
use crate::support::servers::Servers;
use crate::support::shop::Shop;
use crate::support::{eventually, unique};

/// A running sale.
pub struct Scene {
    pub shop: Shop,
    /// The payment gateway, a process of its own that tells the shop nothing unasked.
    pub gateway: String,
    pub servers: Option<Servers>,
    server: Server,
    _gateway: Running,
    _folder: TempDir,
}

impl Scene {
    pub async fn embedded() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = ServeSettings::embedded(&folder.path().join("node"));
        Self::over(settings, None, folder).await
    }

    /// `None` where there are no servers.
    pub async fn on_real_servers() -> Option<Self> {
        let servers = Servers::from_environment()?;
        let folder = tempfile::tempdir().expect("a folder");
        let settings = servers.serve(folder.path());
        Some(Self::over(settings, Some(servers), folder).await)
    }

    async fn over(settings: ServeSettings, servers: Option<Servers>, folder: TempDir) -> Self {
        let arguments = ["pg-sim", "--listen", "127.0.0.1:0"];
        let mut gateway = Running::start(holdfast(&arguments, &BTreeMap::new()));
        let url = gateway
            .line("the simulated payment gateway listens on")
            .await;
        let server = settings.with("PG_URL", &url).start().await;
        let shop = Shop::open(&server, &unique("drop"), 50_000, 50_000).await;
        Self {
            shop,
            gateway: url,
            servers,
            server,
            _gateway: gateway,
            _folder: folder,
        }
    }

    /// A purchase that was completed.
    pub async fn purchase(&self, key: &str) -> String {
        let (token, id) = self.shop.bought(key, "tok-good").await;
        let settled = self.shop.settled(&token, &id).await;
        assert_eq!(settled["state"], "COMPLETED", "{settled}");
        id
    }

    /// A purchase whose buyer never pays, and that an operator turned back.
    pub async fn turned_back(&self, key: &str) -> String {
        let token = self.shop.token().await;
        let mut order = self.shop.order("none");
        order["payment"] = json!({ "method": "redirect" });
        let answer = self.shop.buy(&token, key, &order).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let id = answer.body["id"].as_str().expect("an id").to_owned();
        let path = format!("{}/v1/workflows/{id}", self.shop.operators);
        eventually("the purchase to wait for its buyer", || async {
            let shown = get(self.shop.operators(), path.clone()).await;
            (shown.body["state"] == "WAITING").then_some(())
        })
        .await;
        let request = self.shop.operators().post(format!("{path}/compensate"));
        let request = request.header("idempotency-key", key);
        let answer = send(request.json(&json!({ "reason": "a test" }))).await;
        assert_eq!(answer.status / 100, 2, "{answer:?}");
        self.shop.settled(&token, &id).await;
        id
    }

    /// `POST /v1/verify`.
    pub async fn check(&self, at_rest: bool) -> Value {
        let request = self
            .shop
            .operators()
            .post(format!("{}/v1/verify", self.shop.operators));
        let answer = send(request.json(&json!({ "at_rest": at_rest }))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// The command, as an operator runs it: its exit code, and what is violated.
    pub async fn command(&self) -> (Option<i32>, Vec<(String, String)>) {
        let output = command(&self.server, &["-o", "json"]).await;
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let invariants = report["invariants"].as_array().expect("a list").iter();
        let violated = invariants.filter(|one| one["verdict"] == "violated");
        let named = violated.map(|one| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&one["id"]), text(&one["violations"][0]))
        });
        (output.status.code(), named.collect())
    }

    /// The database, past the program.
    pub async fn database(&self) -> SqlDatabase {
        let url = &self.servers.as_ref().expect("servers").database_url;
        let connected = mysql::connect(url, &ConnectOptions::default()).await;
        connected.expect("the database")
    }
}

/// `holdfast verify` with these arguments.
pub async fn command(server: &Server, arguments: &[&str]) -> Output {
    let variables = [
        ("HOLDFAST_OPERATORS_URL", &server.operators),
        ("HOLDFAST_OPERATOR_TOKEN", &server.operator_token),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.clone()));
    run(
        &[&["verify"], arguments].concat(),
        &BTreeMap::from(variables),
    )
    .await
}

/// One statement, past the program.
pub async fn sql(database: &SqlDatabase, sql: &'static str, parameters: &[Cell]) -> Vec<Row> {
    let done = database
        .query("planting a violation", sql, parameters)
        .await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"))
}
