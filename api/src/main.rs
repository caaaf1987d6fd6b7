//! `holdfast`: the command line in front of everything. Each command has a file; this one only starts it.

#![warn(clippy::unwrap_used)]

mod cli;
mod config;
mod exit;

mod auth;
mod clock;
mod hexadecimal;
mod http;
mod problem;
mod sale;

mod openapi;

mod buyers;
mod operators;

mod shutdown;
mod wiring;

mod bench;
mod demo;
mod migrate;
mod operate;
mod pg_sim;
mod reconcile;
mod seed;
mod serve;
mod token;
mod verify;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use engine::Runtime;
use tracing_subscriber::EnvFilter;

use cli::{BenchCommand, Cli, Command};
use exit::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(&cli.command);
    #[cfg(feature = "crash-points")]
    let _armed = fail::FailScenario::setup();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&Failure::internal("starting the runtime", &error)),
    };
    match runtime.block_on(run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failed(&failure),
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    let runtime = Runtime::system();
    match command {
        Command::Serve(arguments) => serve::run(arguments, runtime).await,
        Command::Demo(arguments) => demo::run(arguments, runtime).await,
        Command::PgSim(arguments) => pg_sim::run(arguments, runtime).await,
        Command::Migrate(arguments) => migrate::run(arguments, runtime).await,
        Command::Seed(arguments) => seed::run(arguments).await,
        Command::Workflows(arguments) => operate::workflows(arguments, &runtime).await,
        Command::Batches(arguments) => operate::batches(arguments, &runtime).await,
        Command::Commands(arguments) => operate::commands(arguments).await,
        Command::Nodes(arguments) => operate::nodes(arguments).await,
        Command::Reconcile(arguments) => reconcile::run(arguments).await,
        Command::Verify(arguments) => verify::run(arguments, &runtime).await,
        Command::Ready(arguments) => operate::ready(&arguments).await,
        Command::Token(arguments) => token::run(&arguments, runtime),
        Command::Bench(arguments) => match arguments.command {
            BenchCommand::Engine(arguments) => bench::run(arguments, runtime).await,
            BenchCommand::Takeover(arguments) => bench::takeover::run(arguments, runtime).await,
            BenchCommand::Waiting(arguments) => bench::waiting::run(arguments, runtime).await,
        },
    }
}

fn failed(failure: &Failure) -> ExitCode {
    eprintln!("holdfast: {failure}");
    failure.exit_code()
}

/// Standard output is for results. `RUST_LOG` says what is logged, such as `info,engine=debug`.
fn log_to_stderr(command: &Command) {
    let default = match command {
        Command::Serve(_) | Command::PgSim(_) => "info",
        _ => "warn",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
