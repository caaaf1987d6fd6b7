//! The command line: the commands, and the flags that belong to one of them alone.

#![expect(
    clippy::doc_markdown,
    reason = "`--help` prints this text, where backticks are noise"
)]

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Backend, Listen, Secret};
use crate::exit;

pub mod operators;
pub mod token;

use operators::{Batches, Commands, Nodes, Ready, Reconcile, Seed, Verify, Workflows};
use token::Token;

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
    /// Seed the sales of a file, all of them or none, over a running server's operators' address
    Seed(Seed),
    /// Look at workflows and operate them, over a running server's operators' address
    Workflows(Workflows),
    /// Tell many workflows the same: wake all that are parked on an error
    Batches(Batches),
    /// Who told which workflow what, why, and what came of it
    Commands(Commands),
    /// Who owns which partitions
    Nodes(Nodes),
    /// Does the gate agree with the database, to the unit? Ends with 1 when it does not
    Reconcile(Reconcile),
    /// Do the invariants hold, over the database, the gate, the topic and the gateway's ledger? Ends with 1 when one does not
    Verify(Verify),
    /// Say whether a server is ready, for probes: no token is needed
    Ready(Ready),
    /// Sign a token: for an operator, with a role, or for a buyer who has signed in at the shop
    Token(Token),
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
    /// How long a time-out holds an answer back, in milliseconds
    #[arg(long, default_value_t = 30_000, value_name = "MS")]
    pub hold_ms: u64,
    /// For how many requests of one call and order each passing fault shows
    #[arg(long, default_value_t = 1, value_name = "REQUESTS")]
    pub faulty_attempts: u32,
    /// How old a payment must be for an inquiry that lags to see it, in milliseconds
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    pub inquiry_lag_ms: u64,
    /// How much later a late webhook is sent, in milliseconds
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    pub webhook_late_ms: u64,
    /// The share of orders that show a fault, such as 500-after=0.05; may be repeated
    #[arg(long = "rate", value_name = "FAULT=SHARE", value_parser = rate)]
    pub rates: Vec<(String, f64)>,
    /// Where webhooks go; without one there are none
    #[arg(
        long,
        env = "HOLDFAST_PG_WEBHOOK_URL",
        value_name = "URL",
        requires = "webhook_secrets"
    )]
    pub webhook_url: Option<String>,
    /// What webhooks are signed with, 16 bytes at least; two, separated by a comma, while one replaces the other
    #[arg(
        long = "webhook-secret",
        env = "HOLDFAST_PG_WEBHOOK_SECRET",
        hide_env_values = true,
        value_name = "SECRET",
        value_delimiter = ','
    )]
    pub webhook_secrets: Vec<Secret>,
    /// What buyers' browsers reach the payment page by [default: the address it listens on]
    #[arg(long, env = "HOLDFAST_PG_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
}

fn rate(text: &str) -> Result<(String, f64), String> {
    let (fault, share) = text
        .split_once('=')
        .ok_or("must be FAULT=SHARE, such as 500-after=0.05")?;
    let share = share.parse().map_err(|_| "the share must be 0 to 1")?;
    Ok((fault.to_owned(), share))
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
    /// How long a node takes to get many open workflows moving again that another one left behind
    Takeover(BenchTakeover),
    /// What many workflows that wait for their time cost in memory, and how late they are woken
    Waiting(BenchWaiting),
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// The server that DATABASE_URL names, in a database of its own that is dropped afterwards.
    Mysql,
    /// A file in a temporary directory.
    Sqlite,
}

impl StoreKind {
    /// The partitions that serve it best: MySQL works on two connections at once, SQLite has one writer.
    pub const fn partitions(self) -> u16 {
        match self {
            Self::Mysql => 2,
            Self::Sqlite => 1,
        }
    }
}

/// Where a benchmark runs.
#[derive(Args, Debug)]
pub struct BenchStore {
    /// Which store
    #[arg(long, value_enum, default_value_t = StoreKind::Sqlite)]
    pub store: StoreKind,
    /// MySQL or MariaDB, for --store mysql
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<Secret>,
    /// Partitions, each with a journal writer and a connection [default: 2, and 1 on SQLite, whose writers take turns]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=16))]
    partitions: Option<u16>,
}

impl BenchStore {
    /// How many partitions the engine has.
    pub fn partitions(&self) -> u16 {
        self.partitions.unwrap_or(self.store.partitions())
    }
}

#[derive(Args, Debug)]
pub struct BenchTakeover {
    #[command(flatten)]
    pub place: BenchStore,
    /// Workflows that are in the middle of something when their node dies
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub open: u32,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Args, Debug)]
pub struct BenchWaiting {
    #[command(flatten)]
    pub place: BenchStore,
    /// Workflows that wait at the same time
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub workflows: u32,
    /// So many are woken each second
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub per_second: u32,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Args, Debug)]
pub struct BenchEngine {
    #[command(flatten)]
    pub place: BenchStore,
    /// The third step says no: workflows are compensated instead of completed
    #[arg(long)]
    pub refuse: bool,
    /// Workflows to run
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub workflows: u32,
    /// Workflows at the same time
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub in_flight: u32,
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
