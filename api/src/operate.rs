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
    Batches, BatchesCommand, Commands, FilterArguments, Nodes, Pages, Ready, Workflows,
    WorkflowsCommand,
};
use crate::exit::{Code, Failure};
use client::Answer;
pub use client::Client;
use orders::Order;
pub use text::{table, word};

/// How an answer is shown to people.
type Text = fn(&Value) -> String;

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
            return show(&client, output, &["workflows"], &query, text::workflows).await;
        }
        WorkflowsCommand::Show { id } => {
            return show(&client, output, &["workflows", &id], &[], text::workflow).await;
        }
        WorkflowsCommand::Errors { limit } => {
            let query = [("limit", limit.to_string())];
            return show(&client, output, &["errors"], &query, text::errors).await;
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
    tell(&client, output, order, runtime).await
}

/// Sends an order, and prints the workflow, what would become of it, or the command that nobody has answered yet.
async fn tell(
    client: &Client,
    output: Output,
    order: Order,
    runtime: &Runtime,
) -> Result<(), Failure> {
    let is_dry_run = order.arguments.dry_run;
    let answer = orders::send(client, order, runtime).await?;
    let is_pending = answer.status == StatusCode::ACCEPTED;
    let text: Text = match (is_dry_run, is_pending) {
        (true, _) => text::preview,
        (false, true) => text::command,
        (false, false) => text::workflow,
    };
    print(output, &answer, text);
    if !is_pending {
        return Ok(());
    }
    Err(Failure::new(
        Code::Pending,
        format!(
            "it is accepted and will be carried out or refused, and was not yet: look with `holdfast commands {}`",
            word(&answer.body["id"])
        ),
    ))
}

/// Tells many workflows the same.
pub async fn batches(arguments: Batches, runtime: &Runtime) -> Result<(), Failure> {
    let Batches { server, command } = arguments;
    let (client, output) = (Client::new(&server)?, server.output);
    let (answer, text): (Answer, Text) = match command {
        BatchesCommand::Preview(batch) => {
            let answer = orders::batch(&client, batch, true, runtime).await?;
            (answer, text::batch_preview)
        }
        BatchesCommand::Start(batch) => {
            let answer = orders::batch(&client, batch, false, runtime).await?;
            (answer, text::batch)
        }
        BatchesCommand::List(pages) => {
            return show(&client, output, &["batches"], &page(&pages), text::batches).await;
        }
        BatchesCommand::Show { id } => {
            let path = ["batches", &id.to_string()];
            return show(&client, output, &path, &[], text::batch).await;
        }
        BatchesCommand::Commands { id, pages } => {
            let path = ["batches", &id.to_string(), "commands"];
            return show(&client, output, &path, &page(&pages), text::commands).await;
        }
        BatchesCommand::Stop { id } => {
            let path = ["batches", &id.to_string(), "stop"];
            (client.call(client.post(&path)?).await?, text::batch)
        }
    };
    print(output, &answer, text);
    Ok(())
}

/// Who told which workflow what.
pub async fn commands(arguments: Commands) -> Result<(), Failure> {
    let Commands {
        server,
        id,
        workflow,
        pages,
    } = arguments;
    let (client, output) = (Client::new(&server)?, server.output);
    if let Some(id) = id {
        let path = ["commands", &id.to_string()];
        return show(&client, output, &path, &[], text::command).await;
    }
    let mut query = page(&pages);
    query.extend(workflow.map(|workflow| ("workflow", workflow)));
    show(&client, output, &["commands"], &query, text::commands).await
}

/// Who owns which partitions.
pub async fn nodes(arguments: Nodes) -> Result<(), Failure> {
    let client = Client::new(&arguments.server)?;
    show(
        &client,
        arguments.server.output,
        &["nodes"],
        &[],
        text::nodes,
    )
    .await
}

/// Whether a server is ready.
pub async fn ready(arguments: &Ready) -> Result<(), Failure> {
    Client::of_nobody(&arguments.operators_url)?.ready().await?;
    println!("ready");
    Ok(())
}

async fn show(
    client: &Client,
    output: Output,
    path: &[&str],
    query: &[(&str, String)],
    text: Text,
) -> Result<(), Failure> {
    print(output, &client.get(path, query).await?, text);
    Ok(())
}

fn print(output: Output, answer: &Answer, text: Text) {
    match output {
        Output::Json => println!("{:#}", answer.body),
        Output::Text => print!("{}", text(&answer.body)),
    }
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
