//! Operators: what a role may do, on every route that there is.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::forge::{For, KEY};
use crate::operators::desk::Desk;
use crate::support::http::{Answer, client, client_with, get, send};
use crate::support::process::{ServeSettings, Server};
use crate::support::shop::Shop;

const ROLES: [&str; 3] = ["viewer", "operator", "admin"];
/// Probes, scrapers and generators of clients have no tokens.
const OPEN: [&str; 4] = ["/livez", "/readyz", "/metrics", "/openapi.json"];

/// One line of the routing table, with something in its path's places.
struct Route {
    method: Method,
    path: String,
    role: Option<String>,
}

impl Route {
    fn of(line: &Value) -> Self {
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let path = text("path").expect("a path");
        let parts = path.split('/').map(|part| {
            let is_place = part.starts_with('{');
            if is_place { "unknown" } else { part }
        });
        Self {
            method: text("method").expect("a method").parse().expect("a method"),
            path: parts.collect::<Vec<_>>().join("/"),
            role: text("role"),
        }
    }

    async fn ask(&self, server: &Server, token: Option<&str>) -> Answer {
        let http = token.map_or_else(client, client_with);
        let url = format!("{}{}", server.operators, self.path);
        send(http.request(self.method.clone(), url)).await
    }
}

#[tokio::test]
async fn operators_routes_need_a_role() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path()).with("HOLDFAST_TOKEN_KEY", KEY);
    let server = settings.start().await;
    let _shop = Shop::open(&server, "open", 10, 10).await;
    let admin = client_with(&server.operator_token);
    let table = get(&admin, format!("{}/v1/routes", server.operators));
    let table = table.await.body;
    let routes: Vec<Route> = table["routes"]
        .as_array()
        .expect("routes")
        .iter()
        .map(Route::of)
        .collect();
    assert!(routes.len() > 25, "{table}");
    for (method, path, role) in [
        (Method::GET, "/v1/workflows", "viewer"),
        (Method::POST, "/v1/workflows/unknown/retry", "operator"),
        (Method::POST, "/v1/batches", "operator"),
        (Method::POST, "/v1/reconcile", "operator"),
        (Method::POST, "/v1/sales/unknown/schedule", "operator"),
        (Method::POST, "/v1/sales", "admin"),
        (Method::POST, "/v1/seed", "admin"),
        (
            Method::POST,
            "/v1/sales/unknown/products/unknown/recall",
            "admin",
        ),
        (
            Method::POST,
            "/v1/sales/unknown/products/unknown/serials",
            "admin",
        ),
    ] {
        let mut matching = routes.iter();
        let found = matching.find(|route| route.method == method && route.path == path);
        let needed = found.and_then(|route| route.role.as_deref());
        assert_eq!(needed, Some(role), "{method} {path}");
    }
    let mut tokens = Vec::new();
    for role in ROLES {
        tokens.push(settings.operator_token(role, "bob").await);
    }
    let buyer = For::Buyers.signed(&For::Buyers.claims());
    let expired = expired();
    for route in &routes {
        let what = format!("{} {}", route.method, route.path);
        let Some(role) = &route.role else {
            assert!(OPEN.contains(&route.path.as_str()), "{what} is open");
            assert_eq!(route.ask(&server, None).await.status, 200, "{what}");
            continue;
        };
        let needed = ROLES.iter().position(|name| name == role).expect("a role");
        assert!(
            route.method == Method::GET || needed > 0,
            "{what} is for viewers"
        );
        for token in [None, Some(&*buyer), Some(&*expired)] {
            route
                .ask(&server, token)
                .await
                .expect_problem(401, "unauthenticated");
        }
        for (rank, token) in tokens.iter().enumerate() {
            let answer = route.ask(&server, Some(token)).await;
            if rank < needed {
                answer.expect_problem(403, "role-required");
                let detail = answer.body["detail"].as_str().unwrap_or_default();
                assert!(detail.contains(&format!("`{role}`")), "{what}: {detail}");
            } else {
                assert!(
                    ![401, 403].contains(&answer.status),
                    "{what} by rank {rank}: {answer:?}"
                );
            }
        }
    }
}

fn expired() -> String {
    let mut claims = For::Operators.claims();
    claims["exp"] = json!(super::forge::now() - 60);
    For::Operators.signed(&claims)
}

/// A route that is not in the table would have no role: there is one place where they are made.
#[test]
fn every_operators_route_is_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/operators");
    let mut files = vec![folder];
    let mut seen = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder");
            files.extend(entries.map(|entry| entry.expect("a file").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            seen += 1;
            if path.file_name().is_some_and(|name| name == "routes.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source");
            for maker in [
                ".route(",
                ".route_service(",
                ".nest(",
                ".merge(",
                ".fallback(",
            ] {
                assert!(
                    !text.contains(maker),
                    "{} has a route of its own: {maker}",
                    path.display()
                );
            }
        }
    }
    assert!(seen > 10, "{seen} sources");
}

#[tokio::test]
async fn the_actor_is_the_subject_of_the_token() {
    let desk = Desk::open().await;
    let (token, id) = desk.shop.bought("k", "tok-good").await;
    desk.shop.settled(&token, &id).await;
    let id = desk.stuck().await;
    let paused = desk.tell(&id, "pause").await;
    assert_eq!(paused.status, 200, "{paused:?}");
    let batch = json!({ "verb": "resume", "filter": { "state": "PARKED" } });
    let batch = desk.batch("", &desk.key(), &batch).await;
    assert_eq!(batch.body["actor"], "alice", "{batch:?}");
    assert_eq!(desk.commands(&id).await[0]["actor"], "alice");
    let named = desk
        .order(&id, "resume", &json!({ "actor": "mallory" }))
        .await;
    named.expect_problem(422, "invalid-field");
    assert_eq!(named.body["field"], "actor", "{named:?}");
}

#[tokio::test]
async fn a_token_of_one_listener_is_nothing_to_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let buyer = shop.token().await;
    let nodes = get(&client_with(&buyer), format!("{}/v1/nodes", shop.operators)).await;
    nodes.expect_problem(401, "unauthenticated");
    let bought = shop
        .buy(shop.operator_token(), "k", &shop.order("tok-1"))
        .await;
    bought.expect_problem(401, "unauthenticated");
}
