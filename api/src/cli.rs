//! The command line: the commands, and the flags that belong to one of them alone.

#![expect(
    clippy::doc_markdown,
    reason = "`--help` prints this text, where backticks are noise"
)]

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Backend, Listen};
use crate::exit;

/// A durable saga engine for limited drops: it holds what a buyer reserved, and holds fast when things fail.
#[derive(Parser, Debug)]
#[command(name = "holdfast", version, after_help = exit::HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Serve buyers and operators until SIGTERM or Ctrl-C
    Serve(Serve),
    /// Run a whole sale with many buyers, and check that nothing went wrong
    Demo(Demo),
    /// Run the simulated payment gateway
    PgSim(PgSim),
    /// Bring the database's schema up to date
    Migrate(Migrate),
    /// Look at workflows and operate them, over a running server's operators' address
    Workflows(Workflows),
    /// Measure
    Bench(Bench),
}

/// How a result is printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Text,
    /// For programs: one JSON document on standard output.
    Json,
}

#[derive(Args, Debug)]
pub struct Serve {
    #[command(flatten)]
    pub listen: Listen,
    #[command(flatten)]
    pub backend: Backend,
}

#[derive(Args, Debug)]
pub struct Migrate {
    #[command(flatten)]
    pub backend: Backend,
}

#[derive(Args, Debug)]
pub struct Demo {
    /// Buyers that come
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub buyers: u32,
    /// Units on sale
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub stock: u32,
    /// Coupons, one a buyer; every buyer asks for one
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub coupons: u32,
    /// Fixes which buyers repeat themselves and which have a declined card [default: random, printed]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Buyers that are busy at the same time
    #[arg(long, default_value = "128", value_parser = at_most_4096)]
    pub in_flight: NonZeroUsize,
    /// How to print the result; progress goes to standard error
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    #[command(flatten)]
    pub backend: Backend,
}

#[derive(Args, Debug)]
pub struct PgSim {
    /// Where to listen
    #[arg(
        long,
        env = "HOLDFAST_PG_LISTEN",
        default_value = "127.0.0.1:9090",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,
    /// The ledger's file; without one the ledger is in memory and gone with the process
    #[arg(long, env = "HOLDFAST_PG_LEDGER", value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Fixes everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The share of payments that are declined, 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub decline_rate: f64,
    /// Every answer takes at least this long, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub latency_ms: u64,
    /// And up to this much longer, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub latency_jitter_ms: u64,
}

#[derive(Args, Debug)]
pub struct Workflows {
    /// Where operators are served
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_OPERATORS_URL",
        default_value = "http://127.0.0.1:8081",
        value_name = "URL"
    )]
    pub operators_url: String,
    /// How to print the result
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    #[command(subcommand)]
    pub command: WorkflowsCommand,
}

#[derive(Subcommand, Debug)]
pub enum WorkflowsCommand {
    /// List workflows, newest first
    List {
        /// Only with this state, such as PARKED
        #[arg(long)]
        state: Option<String>,
        /// Only of this definition
        #[arg(long)]
        definition: Option<String>,
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
    /// Let a parked workflow go on
    Retry(OperatorCommand),
    /// Turn a workflow back
    Compensate(OperatorCommand),
}

#[derive(Args, Debug)]
pub struct OperatorCommand {
    /// The workflow's id
    pub id: String,
    /// Who does this
    #[arg(long, env = "USER")]
    pub actor: String,
    /// Why
    #[arg(long)]
    pub reason: String,
}

#[derive(Args, Debug)]
pub struct Bench {
    #[command(subcommand)]
    pub command: BenchCommand,
}

#[derive(Subcommand, Debug)]
pub enum BenchCommand {
    /// No-op four-step workflows through the journal, beside the same rows written by a bare loop
    Engine(BenchEngine),
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// The server that DATABASE_URL names, in a database of its own that is dropped afterwards.
    Mysql,
    /// A file in a temporary directory.
    Sqlite,
}

#[derive(Args, Debug)]
pub struct BenchEngine {
    /// Which store
    #[arg(long, value_enum, default_value_t = StoreKind::Sqlite)]
    pub store: StoreKind,
    /// Workflows to complete
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub workflows: u32,
    /// Workflows at the same time
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub in_flight: u32,
    /// Partitions, each with a journal writer and a connection
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub partitions: u16,
    /// MySQL or MariaDB, for --store mysql
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<crate::config::Secret>,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

fn at_most_4096(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(number) if number.get() <= 4_096 => Ok(number),
        _ => Err("must be a whole number between 1 and 4096".to_owned()),
    }
}
