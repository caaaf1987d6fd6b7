//! `holdfast workflows watch`: a workflow's events as they come.

use std::time::Duration;

use engine::Runtime;
use serde_json::Value;

use super::client::Client;
use super::text;
use crate::cli::Output;
use crate::exit::{Code, Failure};

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The most that a page holds.
const PAGE: usize = 500;

/// Prints events until the workflow has ended or waits for an operator, or until the time is over.
pub async fn run(
    client: &Client,
    output: Output,
    id: &str,
    limit: Duration,
    runtime: &Runtime,
) -> Result<(), Failure> {
    let deadline = runtime.now().after(limit);
    let mut last = 0;
    loop {
        // The workflow first: its events up to now are then there to be read.
        let workflow = client.get(&["workflows", id], &[]).await?.body;
        last = print_after(client, output, id, last).await?;
        let state = text::word(&workflow["state"]);
        if matches!(
            state.as_str(),
            "COMPLETED" | "COMPENSATED" | "ABANDONED" | "PARKED"
        ) {
            if output == Output::Text {
                println!("{state} {}", text::word(&workflow["reason"]));
            }
            return Ok(());
        }
        if runtime.now() >= deadline {
            let why = format!("it is still {state} after {limit:?}");
            return Err(Failure::new(Code::Pending, why));
        }
        runtime.sleep(LOOK_EVERY).await;
    }
}

/// Prints all events after this one, and gives the number of the last.
async fn print_after(
    client: &Client,
    output: Output,
    id: &str,
    mut last: u64,
) -> Result<u64, Failure> {
    loop {
        let query = [("after", last.to_string()), ("limit", PAGE.to_string())];
        let page = client.get(&["workflows", id, "events"], &query).await?.body;
        let events = page["events"].as_array().map_or(&[][..], Vec::as_slice);
        for event in events {
            match output {
                Output::Json => println!("{event}"),
                Output::Text => println!("{}", text::event(event)),
            }
            last = event["seq"].as_u64().unwrap_or(last);
        }
        if page["next_after"] == Value::Null {
            return Ok(last);
        }
    }
}
