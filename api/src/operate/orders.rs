//! Orders to one workflow or to many, as the API takes them.

use engine::Runtime;
use serde_json::{Map, Value, json};

use super::client::{Answer, Client};
use super::words;
use crate::cli::operators::{BatchArguments, OrderArguments, Resolution, Resolve, Signal, Skip};
use crate::exit::{Code, Failure};

/// An order to one workflow.
pub struct Order {
    verb: &'static str,
    /// What the verb needs.
    with: Value,
    /// Everything else.
    pub arguments: OrderArguments,
}

impl Order {
    /// An order that needs nothing else.
    pub fn plain(verb: &'static str, arguments: OrderArguments) -> Self {
        Self {
            verb,
            with: json!({}),
            arguments,
        }
    }

    pub fn resolve(resolve: Resolve) -> Self {
        let Resolve {
            order,
            step,
            resolution,
            message,
        } = resolve;
        let Resolution { done, refused, .. } = resolution;
        let with = match (done, refused) {
            (Some(done), _) => json!({ "step": step, "done": done }),
            (None, Some(code)) => {
                let message = message.unwrap_or_else(|| order.reason.clone());
                json!({ "step": step, "refused": { "code": code, "message": message } })
            }
            (None, None) => json!({ "step": step, "undone": true }),
        };
        Self {
            verb: "resolve",
            with,
            arguments: order,
        }
    }

    pub fn skip(skip: Skip) -> Self {
        Self {
            verb: "skip",
            with: json!({ "step": skip.step, "output": skip.value }),
            arguments: skip.order,
        }
    }

    pub fn signal(signal: Signal, runtime: &Runtime) -> Self {
        let Signal {
            order,
            name,
            own_id,
            payload,
        } = signal;
        let given = own_id.or_else(|| order.key.clone());
        let id = given.unwrap_or_else(|| made_up("id", runtime));
        Self {
            verb: "signal",
            with: json!({ "name": name, "id": id, "payload": payload }),
            arguments: order,
        }
    }
}

/// Sends an order to its workflow.
pub async fn send(client: &Client, order: Order, runtime: &Runtime) -> Result<Answer, Failure> {
    let Order {
        verb,
        with,
        arguments,
    } = order;
    let body = body(&arguments.reason, with)?;
    let mut request = client
        .post(&["workflows", &arguments.id, verb])?
        .query(&[("wait", &arguments.wait)])
        .json(&body);
    if arguments.dry_run {
        request = request.query(&[("dry_run", "true")]);
    } else if verb != "signal" {
        let key = arguments.key.unwrap_or_else(|| made_up("key", runtime));
        request = request.header("idempotency-key", key);
    }
    if let Some(version) = arguments.if_match {
        request = request.header("if-match", format!("\"{version}\""));
    }
    client.call(request).await
}

/// Sends a batch, or asks what it would come to.
pub async fn batch(
    client: &Client,
    arguments: BatchArguments,
    dry_run: bool,
    runtime: &Runtime,
) -> Result<Answer, Failure> {
    let BatchArguments {
        verb,
        with,
        filter,
        reason,
        key,
        per_second,
    } = arguments;
    let mut body = body(&reason, with.unwrap_or_else(|| json!({})))?;
    let words = words(&filter).into_iter();
    let filter: Map<String, Value> = words
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    body.insert("verb".into(), verb.as_str().into());
    body.insert("filter".into(), filter.into());
    if let Some(per_second) = per_second {
        body.insert("per_second".into(), per_second.into());
    }
    let mut request = client.post(&["batches"])?.json(&body);
    if dry_run {
        request = request.query(&[("dry_run", "true")]);
    } else {
        let key = key.unwrap_or_else(|| made_up("key", runtime));
        request = request.header("idempotency-key", key);
    }
    client.call(request).await
}

fn body(reason: &str, with: Value) -> Result<Map<String, Value>, Failure> {
    let Value::Object(mut body) = with else {
        let why = "--with must be a JSON object, such as {\"step\":\"payment\"}";
        return Err(Failure::new(Code::Configuration, why));
    };
    body.insert("reason".into(), reason.into());
    Ok(body)
}

/// A name that nothing else has. It is printed before anything is sent: with it, an order whose answer was lost can be sent
/// again.
fn made_up(what: &str, runtime: &Runtime) -> String {
    let name = format!("cli-{:016x}", runtime.next_u64());
    eprintln!("{what} {name} (send the same again by --{what} {name})");
    name
}
