//! The commands that talk to a running server's operators' address.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Output;
use crate::config::{Secret, parse_duration};
use crate::operators::VerbName;

/// Which server is asked, and how its answer is printed.
#[derive(Args, Debug)]
pub struct Server {
    /// Where operators are served
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_OPERATORS_URL",
        default_value = "http://127.0.0.1:8081",
        value_name = "URL"
    )]
    pub operators_url: String,
    /// Who you are to it: an operator's token. Better given by the environment than by the flag. [default: the one that a server
    /// on this machine keeps in its data directory]
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_OPERATOR_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub operator_token: Option<Secret>,
    /// The data directory of an embedded server on this machine
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_DATA_DIR",
        default_value = "holdfast-data",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,
    /// How to print the result
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Args, Debug)]
pub struct Reconcile {
    #[command(flatten)]
    pub server: Server,
    /// Only this sale
    #[arg(long, value_name = "SALE")]
    pub sale: Option<String>,
    /// Mend what differs: the database is right
    #[arg(long)]
    pub repair: bool,
}

#[derive(Args, Debug)]
pub struct Verify {
    #[command(flatten)]
    pub server: Server,
    /// Nothing may be under way: whatever is, is a violation
    #[arg(long, conflicts_with = "last")]
    pub at_rest: bool,
    /// Check nothing, and show what the server's last check saw
    #[arg(long)]
    pub last: bool,
    /// How long to wait for the result, such as 30s or 10m
    #[arg(long = "for", default_value = "10m", value_parser = parse_duration, value_name = "TIME")]
    pub limit: Duration,
}

#[derive(Args, Debug)]
pub struct Ready {
    /// Where operators are served
    #[arg(
        long,
        env = "HOLDFAST_OPERATORS_URL",
        default_value = "http://127.0.0.1:8081",
        value_name = "URL"
    )]
    pub operators_url: String,
}

#[derive(Args, Debug)]
pub struct Seed {
    /// The sales, in TOML: see examples/drop.toml
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only read the file, and say what is wrong with it
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    pub server: Server,
}

#[derive(Args, Debug)]
pub struct Workflows {
    #[command(flatten)]
    pub server: Server,
    #[command(subcommand)]
    pub command: WorkflowsCommand,
}

#[derive(Subcommand, Debug)]
pub enum WorkflowsCommand {
    /// List workflows, newest first
    List {
        #[command(flatten)]
        filter: FilterArguments,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
        /// Go on after an earlier page
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Show one workflow with its steps
    Show {
        /// Its id
        id: String,
    },
    /// Print a workflow's events as they come, until it has ended or waits for an operator; as JSON, one event a line
    Watch {
        /// Its id
        id: String,
        /// How long at most, such as 30s or 10m
        #[arg(long = "for", default_value = "10m", value_parser = parse_duration, value_name = "TIME")]
        limit: Duration,
    },
    /// Why workflows are parked, in groups
    Errors {
        /// At most so many groups
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
    },
    /// Let a parked workflow go on, or make the attempt now that waits for its time
    Retry(OrderArguments),
    /// Turn a workflow back, if it is not past its pivot
    Compensate(OrderArguments),
    /// Say what became of an attempt of which nobody knows
    Resolve(Resolve),
    /// Go on without a step, as if it had given something
    Skip(Skip),
    /// Stop a workflow for a while
    Pause(OrderArguments),
    /// Let a paused workflow go on
    Resume(OrderArguments),
    /// Give a workflow up as it is, for good
    Abandon(OrderArguments),
    /// Tell a workflow something that it waits for, or will
    Signal(Signal),
}

/// Which workflows.
#[derive(Args, Debug)]
pub struct FilterArguments {
    /// Only with this state, such as PARKED
    #[arg(long)]
    pub state: Option<String>,
    /// Only of this definition
    #[arg(long)]
    pub definition: Option<String>,
    /// Only with this error or reason, such as payment-declined
    #[arg(long)]
    pub error: Option<String>,
    /// Only with this label: for purchases, the sale
    #[arg(long, visible_alias = "sale")]
    pub label: Option<String>,
    /// Only those that are parked on this step
    #[arg(long)]
    pub step: Option<String>,
    /// Only those that were started at this time or later, such as 2026-01-02T03:04:05Z
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Only those that were started before this time
    #[arg(long, value_name = "TIME")]
    pub before: Option<String>,
}

/// An order to one workflow.
#[derive(Args, Debug)]
pub struct OrderArguments {
    /// The workflow's id
    pub id: String,
    /// Why; who it is says the token
    #[arg(long)]
    pub reason: String,
    /// The order's own name: sent again under the same name it is the same order [default: made up and printed]
    #[arg(long)]
    pub key: Option<String>,
    /// Only if the workflow is still at this version
    #[arg(long, value_name = "VERSION")]
    pub if_match: Option<u32>,
    /// Say what would happen, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait until it is carried out, at most 30s
    #[arg(long, default_value = "5s", value_name = "TIME")]
    pub wait: String,
}

#[derive(Args, Debug)]
pub struct Resolve {
    #[command(flatten)]
    pub order: OrderArguments,
    /// The step
    #[arg(long)]
    pub step: String,
    #[command(flatten)]
    pub resolution: Resolution,
    /// With --refused: the sentence that goes with the code
    #[arg(long, requires = "refused", value_name = "TEXT")]
    pub message: Option<String>,
}

/// What became of the attempt.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Resolution {
    /// The action took effect and gave this
    #[arg(long, value_name = "JSON", value_parser = json)]
    pub done: Option<serde_json::Value>,
    /// The action had no effect and will have none: the reason's code
    #[arg(long, value_name = "CODE")]
    pub refused: Option<String>,
    /// The compensation took effect
    #[arg(long)]
    pub undone: bool,
}

#[derive(Args, Debug)]
pub struct Skip {
    #[command(flatten)]
    pub order: OrderArguments,
    /// The step
    #[arg(long)]
    pub step: String,
    /// What later steps take for its output
    #[arg(long, value_name = "JSON", value_parser = json)]
    pub value: serde_json::Value,
}

#[derive(Args, Debug)]
pub struct Signal {
    #[command(flatten)]
    pub order: OrderArguments,
    /// The step that awaits it
    #[arg(long)]
    pub name: String,
    /// The signal's own id: one with the id of an earlier one is dropped [default: the key]
    #[arg(long = "id", value_name = "ID")]
    pub own_id: Option<String>,
    /// What it says
    #[arg(long, value_name = "JSON", value_parser = json)]
    pub payload: serde_json::Value,
}

#[derive(Args, Debug)]
pub struct Batches {
    #[command(flatten)]
    pub server: Server,
    #[command(subcommand)]
    pub command: BatchesCommand,
}

#[derive(Subcommand, Debug)]
pub enum BatchesCommand {
    /// Say how many workflows a batch would tell, and what it would come to for the first of them
    Preview(BatchArguments),
    /// Tell many workflows the same
    Start(BatchArguments),
    /// List batches, newest first
    List(Pages),
    /// Show how far a batch is
    Show {
        /// Its number
        id: u64,
    },
    /// What became of each workflow of a batch, newest first
    Commands {
        /// Its number
        id: u64,
        #[command(flatten)]
        pages: Pages,
    },
    /// Stop a batch: nobody else is told
    Stop {
        /// Its number
        id: u64,
    },
}

#[derive(Args, Debug)]
pub struct BatchArguments {
    /// What each workflow is told
    #[arg(value_enum)]
    pub verb: VerbName,
    /// What the verb needs, such as {"step":"payment","undone":true} for resolve
    #[arg(long, value_name = "JSON", value_parser = json)]
    pub with: Option<serde_json::Value>,
    #[command(flatten)]
    pub filter: FilterArguments,
    /// Why; who it is says the token
    #[arg(long)]
    pub reason: String,
    /// The batch's own name: sent again under the same name it is the same batch [default: made up and printed]
    #[arg(long)]
    pub key: Option<String>,
    /// At most so many workflows a second [default: the server's]
    #[arg(long)]
    pub per_second: Option<u32>,
}

/// Which part of a numbered list.
#[derive(Args, Debug)]
pub struct Pages {
    /// Only those before this number: the next page
    #[arg(long, value_name = "NUMBER")]
    pub before: Option<u64>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub limit: u16,
}

#[derive(Args, Debug)]
pub struct Commands {
    #[command(flatten)]
    pub server: Server,
    /// Only this one
    #[arg(conflicts_with = "workflow", value_name = "NUMBER")]
    pub id: Option<u64>,
    /// Only those to this workflow
    #[arg(long, value_name = "ID")]
    pub workflow: Option<String>,
    #[command(flatten)]
    pub pages: Pages,
}

#[derive(Args, Debug)]
pub struct Nodes {
    #[command(flatten)]
    pub server: Server,
}

fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
}
