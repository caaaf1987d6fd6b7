//! `holdfast workflows`: a thin client of the operators' API of a running server.

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Url};
use serde_json::{Value, json};

use crate::cli::{OperatorCommand, Output, Workflows, WorkflowsCommand};
use crate::exit::{Code, Failure, with_causes};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Asks, prints the answer, and fails with the server's own sentence.
pub async fn run(arguments: Workflows) -> Result<(), Failure> {
    let Workflows {
        operators_url,
        output,
        command,
    } = arguments;
    let server = Server::new(&operators_url)?;
    let answer = match &command {
        WorkflowsCommand::List {
            state,
            definition,
            limit,
            cursor,
        } => {
            let limit = limit.to_string();
            let query: Vec<(&str, &str)> = [
                ("state", state.as_deref()),
                ("definition", definition.as_deref()),
                ("limit", Some(limit.as_str())),
                ("cursor", cursor.as_deref()),
            ]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
            server
                .call(server.client.get(server.url(&[])?).query(&query))
                .await?
        }
        WorkflowsCommand::Show { id } => server.call(server.client.get(server.url(&[id])?)).await?,
        WorkflowsCommand::Retry(order) => server.operate("retry", order).await?,
        WorkflowsCommand::Compensate(order) => server.operate("compensate", order).await?,
    };
    match output {
        Output::Json => println!("{answer:#}"),
        Output::Text if matches!(command, WorkflowsCommand::List { .. }) => {
            print!("{}", list(&answer));
        }
        Output::Text => print!("{}", detail(&answer)),
    }
    Ok(())
}

struct Server {
    client: Client,
    base: Url,
}

impl Server {
    fn new(operators_url: &str) -> Result<Self, Failure> {
        let base = Url::parse(operators_url)
            .ok()
            .filter(|url| !url.cannot_be_a_base())
            .ok_or_else(|| {
                Failure::new(
                    Code::Configuration,
                    "--operators-url can't be read: give one such as http://127.0.0.1:8081",
                )
            })?;
        let client = Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| Failure::internal("setting up the HTTP client", &error))?;
        Ok(Self { client, base })
    }

    fn url(&self, rest: &[&str]) -> Result<Url, Failure> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::new(Code::Configuration, "--operators-url can't have a path"))?
            .pop_if_empty()
            .extend(["v1", "workflows"])
            .extend(rest);
        Ok(url)
    }

    async fn operate(&self, verb: &str, order: &OperatorCommand) -> Result<Value, Failure> {
        let OperatorCommand { id, actor, reason } = order;
        let body = json!({ "actor": actor, "reason": reason });
        self.call(self.client.post(self.url(&[id, verb])?).json(&body))
            .await
    }

    async fn call(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let unreachable = |error: reqwest::Error| {
            let why = with_causes(&error.without_url());
            let hint = "start `holdfast serve`, or give its operators' address by --operators-url";
            Failure::new(
                Code::Server,
                format!("{} can't be asked: {why}; {hint}", self.base),
            )
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body: Value = response.json().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(body);
        }
        let sentence = text(&body["detail"]);
        let code = if status.is_server_error() {
            Code::Server
        } else {
            Code::Refused
        };
        Err(Failure::new(
            code,
            if sentence.is_empty() {
                format!("the server answered {status}")
            } else {
                sentence
            },
        ))
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn list(answer: &Value) -> String {
    let mut out = format!(
        "{:<36}  {:<12}  {:<12}  {:<20}  {}\n",
        "ID", "STATE", "DEFINITION", "REASON", "STARTED"
    );
    for row in answer["workflows"].as_array().into_iter().flatten() {
        let [id, state, definition, reason, started] =
            ["id", "state", "definition", "reason", "created_at"].map(|name| text(&row[name]));
        writeln!(
            out,
            "{id:<36}  {state:<12}  {definition:<12}  {reason:<20}  {started}"
        )
        .expect("a String takes all");
    }
    if let Some(cursor) = answer["next_cursor"].as_str() {
        writeln!(out, "more with --cursor {cursor}").expect("a String takes all");
    }
    out
}

fn detail(answer: &Value) -> String {
    let mut out = String::new();
    for name in [
        "id",
        "state",
        "definition",
        "version",
        "reason",
        "label",
        "created_at",
        "updated_at",
    ] {
        let value = text(&answer[name]);
        if !value.is_empty() {
            writeln!(out, "{name:<12} {value}").expect("a String takes all");
        }
    }
    if let Value::Object(parked) = &answer["waiting_for_operator"] {
        let error = parked
            .get("error")
            .map(|error| text(&error["message"]))
            .unwrap_or_default();
        writeln!(out, "{:<12} {error}", "waits for").expect("a String takes all");
    }
    writeln!(
        out,
        "\n{:<16}  {:<14}  {:>8}  {:<14}  LAST ERROR",
        "STEP", "STATE", "ATTEMPTS", "COMPENSATION"
    )
    .expect("a String takes all");
    for step in answer["steps"].as_array().into_iter().flatten() {
        let [name, state, attempts] = ["name", "state", "attempts"].map(|name| text(&step[name]));
        let (undo, error) = (
            text(&step["compensation"]["state"]),
            text(&step["last_error"]["message"]),
        );
        writeln!(
            out,
            "{name:<16}  {state:<14}  {attempts:>8}  {undo:<14}  {error}"
        )
        .expect("a String takes all");
    }
    out
}
