//! `holdfast workflows`, `batches`, `commands` and `nodes`: a thin client of the operators' API of a running server. It asks,
//! prints the answer, and fails with the server's own sentence.

mod client;
mod orders;
mod text;
mod watch;

use engine::Runtime;
use reqwest::StatusCode;
use serde_json::Value;

use crate::cli::Output;
use crate::cli::operators::{
    Batches, BatchesCommand, Commands, FilterArguments, Nodes, Pages, Workflows, WorkflowsCommand,
};
use crate::exit::{Code, Failure};
use client::{Answer, Client};
use orders::Order;

/// Looks at workflows, and tells one of them something.
pub async fn workflows(arguments: Workflows, runtime: &Runtime) -> Result<(), Failure> {
    let Workflows { server, command } = arguments;
    let (client, output) = (Client::new(&server)?, server.output);
    let order = match command {
        WorkflowsCommand::List {
            filter,
            limit,
            cursor,
        } => {
            let mut query = words(&filter);
            query.push(("limit", limit.to_string()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let answer = client.get(&["workflows"], &query).await?;
            return print(output, &answer, text::workflows);
        }
        WorkflowsCommand::Show { id } => {
            let answer = client.get(&["workflows", &id], &[]).await?;
            return print(output, &answer, text::workflow);
        }
        WorkflowsCommand::Errors { limit } => {
            let answer = client
                .get(&["errors"], &[("limit", limit.to_string())])
                .await?;
            return print(output, &answer, text::errors);
        }
        WorkflowsCommand::Watch { id, limit } => {
            return watch::run(&client, output, &id, limit, runtime).await;
        }
        WorkflowsCommand::Retry(order) => Order::plain("retry", order),
        WorkflowsCommand::Compensate(order) => Order::plain("compensate", order),
        WorkflowsCommand::Pause(order) => Order::plain("pause", order),
        WorkflowsCommand::Resume(order) => Order::plain("resume", order),
        WorkflowsCommand::Abandon(order) => Order::plain("abandon", order),
        WorkflowsCommand::Resolve(resolve) => Order::resolve(resolve),
        WorkflowsCommand::Skip(skip) => Order::skip(skip),
        WorkflowsCommand::Signal(signal) => Order::signal(signal, runtime),
    };
    let is_dry_run = order.arguments.dry_run;
    let answer = orders::send(&client, order, runtime).await?;
    if is_dry_run {
        return print(output, &answer, text::preview);
    }
    if answer.status != StatusCode::ACCEPTED {
        return print(output, &answer, text::workflow);
    }
    print(output, &answer, text::command)?;
    Err(Failure::new(
        Code::Pending,
        format!(
            "it is accepted and will be carried out or refused, and was not yet: look with `holdfast commands {}`",
            text::word(&answer.body["id"])
        ),
    ))
}

/// Tells many workflows the same.
pub async fn batches(arguments: Batches, runtime: &Runtime) -> Result<(), Failure> {
    let Batches { server, command } = arguments;
    let (client, output) = (Client::new(&server)?, server.output);
    match command {
        BatchesCommand::Preview(batch) => {
            let answer = orders::batch(&client, batch, true, runtime).await?;
            print(output, &answer, text::batch_preview)
        }
        BatchesCommand::Start(batch) => {
            let answer = orders::batch(&client, batch, false, runtime).await?;
            print(output, &answer, text::batch)
        }
        BatchesCommand::List(pages) => {
            let answer = client.get(&["batches"], &page(&pages)).await?;
            print(output, &answer, text::batches)
        }
        BatchesCommand::Show { id } => {
            let answer = client.get(&["batches", &id.to_string()], &[]).await?;
            print(output, &answer, text::batch)
        }
        BatchesCommand::Commands { id, pages } => {
            let path = ["batches", &id.to_string(), "commands"];
            let answer = client.get(&path, &page(&pages)).await?;
            print(output, &answer, text::commands)
        }
        BatchesCommand::Stop { id } => {
            let path = ["batches", &id.to_string(), "stop"];
            let answer = client.call(client.post(&path)?).await?;
            print(output, &answer, text::batch)
        }
    }
}

/// Who told which workflow what.
pub async fn commands(arguments: Commands) -> Result<(), Failure> {
    let Commands {
        server,
        id,
        workflow,
        pages,
    } = arguments;
    let client = Client::new(&server)?;
    if let Some(id) = id {
        let answer = client.get(&["commands", &id.to_string()], &[]).await?;
        return print(server.output, &answer, text::command);
    }
    let mut query = page(&pages);
    query.extend(workflow.map(|workflow| ("workflow", workflow)));
    let answer = client.get(&["commands"], &query).await?;
    print(server.output, &answer, text::commands)
}

/// Who owns which partitions.
pub async fn nodes(arguments: Nodes) -> Result<(), Failure> {
    let client = Client::new(&arguments.server)?;
    let answer = client.get(&["nodes"], &[]).await?;
    print(arguments.server.output, &answer, text::nodes)
}

fn print(output: Output, answer: &Answer, text: fn(&Value) -> String) -> Result<(), Failure> {
    match output {
        Output::Json => println!("{:#}", answer.body),
        Output::Text => print!("{}", text(&answer.body)),
    }
    Ok(())
}

/// The filter in the words of the API.
fn words(filter: &FilterArguments) -> Vec<(&'static str, String)> {
    let parts = [
        ("state", &filter.state),
        ("definition", &filter.definition),
        ("error", &filter.error),
        ("label", &filter.label),
        ("step", &filter.step),
        ("from", &filter.from),
        ("before", &filter.before),
    ];
    let given = parts.into_iter();
    given
        .filter_map(|(name, value)| Some((name, value.clone()?)))
        .collect()
}

fn page(pages: &Pages) -> Vec<(&'static str, String)> {
    let mut query = vec![("limit", pages.limit.to_string())];
    query.extend(pages.before.map(|before| ("before", before.to_string())));
    query
}
