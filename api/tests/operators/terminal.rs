//! The command line: the same as the API, with exit codes.

use std::collections::BTreeMap;
use std::process::Output;

use serde_json::{Value, json};

use super::desk::Desk;
use crate::support::process::run;

/// A terminal with the server's address in its environment.
struct Terminal(BTreeMap<String, String>);

impl Terminal {
    fn of(desk: &Desk) -> Self {
        Self::at(&desk.shop.operators, desk.shop.operator_token())
    }

    fn at(url: &str, token: &str) -> Self {
        let variables = [
            ("HOLDFAST_OPERATORS_URL", url),
            ("HOLDFAST_OPERATOR_TOKEN", token),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self(BTreeMap::from(variables))
    }

    /// Runs a command that ends with this exit code.
    async fn run(&self, arguments: &[&str], code: i32) -> Output {
        let output = run(arguments, &self.0).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        output
    }

    async fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, 0).await;
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["-o", "json"]].concat(), 0).await;
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

fn errors_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const WHO: [&str; 2] = ["--reason", "a test"];

#[tokio::test]
async fn the_command_line_lists_shows_and_refuses_as_the_api_does() {
    let desk = Desk::open().await;
    let (token, id) = desk.shop.bought("k", "tok-good").await;
    desk.shop.settled(&token, &id).await;
    let terminal = Terminal::of(&desk);
    let listed = terminal
        .json(&[
            "workflows",
            "list",
            "--state",
            "COMPLETED",
            "--sale",
            "open",
        ])
        .await;
    assert_eq!(listed["workflows"][0]["id"], id.as_str(), "{listed}");
    let shown = terminal.text(&["workflows", "show", &id]).await;
    assert!(
        shown.contains("goods-issue") && shown.contains("COMPLETED"),
        "{shown}"
    );
    let retry = [&["workflows", "retry", &id], &WHO[..]].concat();
    let refused = terminal.run(&retry, 6).await;
    assert!(errors_of(&refused).contains("COMPLETED"), "{refused:?}");
    let wrong = terminal
        .run(&["workflows", "list", "--state", "LOST"], 6)
        .await;
    assert!(errors_of(&wrong).contains("PARKED"), "{wrong:?}");
    for usage in [
        &["workflows", "resolve", &id, "--step", "payment"][..],
        &[
            "workflows",
            "skip",
            &id,
            "--step",
            "payment",
            "--value",
            "{",
        ],
    ] {
        terminal.run(&[usage, &WHO].concat(), 2).await;
    }
    let nowhere = Terminal::at("http://127.0.0.1:1", "a-token");
    nowhere.run(&["workflows", "list"], 3).await;
}

#[tokio::test]
async fn a_workflow_is_operated_and_watched_from_the_command_line() {
    let desk = Desk::open().await;
    let id = desk.stuck().await;
    let terminal = Terminal::of(&desk);
    let order = |verb, more: &[&'static str]| {
        let order = [&["workflows", verb, &id, "--wait", "30s"], &WHO[..], more].concat();
        order.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let words = |order: &[String]| {
        order
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let run = async |verb, more: &[&'static str], code| {
        let order = words(&order(verb, more));
        terminal
            .run(&order.split('\n').collect::<Vec<_>>(), code)
            .await
    };

    let would = run("pause", &["--dry-run"], 0).await;
    let would = String::from_utf8_lossy(&would.stdout).into_owned();
    assert!(
        would.contains("PARKED") && would.contains("paused"),
        "{would}"
    );
    assert_ne!(desk.workflow(&id).await["state"], "PARKED");

    let unnamed = run("pause", &["-o", "json"], 0).await;
    assert!(errors_of(&unnamed).contains("--key cli-"), "{unnamed:?}");
    let paused: Value = serde_json::from_slice(&unnamed.stdout).expect("JSON");
    assert_eq!(paused["paused"], true, "{paused}");
    let late = run("resume", &["--if-match", "1"], 6).await;
    assert!(errors_of(&late).contains("moved on"), "{late:?}");
    run("resume", &["--key", "mine"], 0).await;
    run("resume", &["--key", "mine"], 0).await;

    let commands = terminal.json(&["commands", "--workflow", &id]).await;
    assert_eq!(commands["commands"].as_array().map(Vec::len), Some(2));
    assert_eq!(commands["commands"][0]["key"], "mine", "{commands}");
    let number = commands["commands"][0]["id"].to_string();
    let shown = terminal.text(&["commands", &number]).await;
    assert!(
        shown.contains("resume") && shown.contains("alice"),
        "{shown}"
    );

    terminal
        .run(&["workflows", "watch", &id, "--for", "1ms"], 7)
        .await;
    desk.gateway_fails(0).await;
    // It may have been tried by itself by now.
    let _retried = desk.tell(&id, "retry").await;
    let watched = terminal.text(&["workflows", "watch", &id]).await;
    assert!(
        watched.contains("started") && watched.contains("unpaused"),
        "{watched}"
    );
    assert!(watched.trim_end().ends_with("COMPLETED"), "{watched}");
    let lines = terminal
        .text(&["workflows", "watch", &id, "-o", "json"])
        .await;
    let events: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("an event a line"))
        .collect();
    assert_eq!(events[0]["type"], "started");
    assert_eq!(events.last().expect("events")["ends"], "completed");
}

#[tokio::test]
async fn errors_batches_and_nodes_are_looked_at_from_the_command_line() {
    let desk = Desk::open().await;
    let id = desk.parked().await;
    let terminal = Terminal::of(&desk);
    let errors = terminal.text(&["workflows", "errors"]).await;
    assert!(errors.contains("payment-in-progress"), "{errors}");
    let start = errors
        .lines()
        .find_map(|line| line.strip_prefix("wake them with `holdfast "));
    let start = start
        .expect("how to wake them")
        .replace(" --reason ...`", "");
    desk.gateway_fails(0).await;
    let start: Vec<&str> = start.split(' ').chain(WHO).collect();
    let preview: Vec<&str> = start
        .iter()
        .map(|word| if *word == "start" { "preview" } else { word })
        .collect();
    let preview = terminal.text(&preview).await;
    assert!(
        preview.starts_with("1 would be told") && preview.contains(&id),
        "{preview}"
    );
    let batch = terminal
        .json(&[&start[..], &["--key", "b", "--per-second", "10"]].concat())
        .await;
    let number = batch["id"].to_string();
    desk.in_state(&id, "COMPLETED").await;
    let shown = terminal.text(&["batches", "show", &number]).await;
    assert!(shown.contains("retry"), "{shown}");
    let results = terminal.json(&["batches", "commands", &number]).await;
    assert_eq!(results["commands"][0]["workflow"], id.as_str(), "{results}");
    let listed = terminal.text(&["batches", "list"]).await;
    assert!(listed.contains("alice"), "{listed}");
    let nodes = terminal.text(&["nodes"]).await;
    assert!(nodes.starts_with("embedded (alive)"), "{nodes}");
    let bad = terminal
        .run(&[&["batches", "start", "retry"], &WHO[..]].concat(), 6)
        .await;
    assert!(errors_of(&bad).contains("filter"), "{bad:?}");
    let with = ["--state", "PARKED", "--with", "7"];
    let bad = [&["batches", "start", "retry"], &WHO[..], &with].concat();
    terminal.run(&bad, 2).await;
    assert_eq!(terminal.json(&["nodes"]).await["retired"], json!([]));
}
