//! The program as users run it: spawned, spoken to by signals, and never left behind.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{PATIENCE, eventually};

/// The variables that would turn a test's embedded program into a production one.
const FOREIGN: [&str; 9] = [
    "DATABASE_URL",
    "REDIS_URL",
    "KAFKA_BROKERS",
    "PG_URL",
    "HOLDFAST_TOKEN_KEY",
    "HOLDFAST_DATA_DIR",
    "HOLDFAST_LISTEN",
    "HOLDFAST_OPERATORS_LISTEN",
    "RUST_LOG",
];

/// The program with nothing but these arguments and variables.
pub fn holdfast(arguments: &[&str], variables: &BTreeMap<String, String>) -> Command {
    isolated(env!("CARGO_BIN_EXE_holdfast"), arguments, variables)
}

fn isolated(program: &str, arguments: &[&str], variables: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .kill_on_drop(true)
        .stdin(Stdio::null());
    for name in FOREIGN {
        command.env_remove(name);
    }
    command.envs(variables);
    command
}

/// Runs the program to its end.
pub async fn run(arguments: &[&str], variables: &BTreeMap<String, String>) -> Output {
    let mut command = holdfast(arguments, variables);
    timeout(2 * PATIENCE, command.output())
        .await
        .expect("the program ends in time")
        .expect("the program starts")
}

/// What a process has printed so far.
type Lines = Arc<Mutex<Vec<String>>>;

/// A program that keeps running.
pub struct Running {
    child: Child,
    out: Lines,
    err: Lines,
    readers: JoinSet<()>,
}

impl Running {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (out, err) = (Lines::default(), Lines::default());
        let mut readers = JoinSet::new();
        readers.spawn(collect(
            child.stdout.take().expect("a pipe"),
            Arc::clone(&out),
        ));
        readers.spawn(collect(
            child.stderr.take().expect("a pipe"),
            Arc::clone(&err),
        ));
        Self {
            child,
            out,
            err,
            readers,
        }
    }

    /// The rest of the line that begins with `prefix`, once it is printed. Panics with everything that was printed when
    /// the process ends before.
    pub async fn line(&mut self, prefix: &str) -> String {
        self.line_in(prefix, &Arc::clone(&self.out)).await
    }

    /// Like [`Running::line`], on standard error.
    pub async fn line_of_errors(&mut self, prefix: &str) -> String {
        self.line_in(prefix, &Arc::clone(&self.err)).await
    }

    async fn line_in(&mut self, prefix: &str, lines: &Lines) -> String {
        let what = format!("a line that begins with {prefix:?}");
        let (out, err) = (Arc::clone(&self.out), Arc::clone(&self.err));
        let child = &mut self.child;
        eventually(&what, || {
            let found = rest_of_line(lines, prefix);
            let ended = child.try_wait().expect("a process").is_some();
            assert!(
                found.is_some() || !ended,
                "the process ended before {what}\n{}\n{}",
                shown(&out),
                shown(&err)
            );
            async { found }
        })
        .await
    }

    /// Sends a signal, such as `TERM`.
    pub async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("the process runs").to_string();
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(id)
            .status()
            .await
            .expect("kill is there");
        assert!(sent.success(), "the process can be signalled");
    }

    /// `kill -9`, and the end of it.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the process can be killed");
    }

    /// Waits for the end.
    pub async fn ended(mut self, limit: Duration) -> (ExitStatus, String) {
        let status = timeout(limit, self.child.wait()).await;
        let status = status
            .unwrap_or_else(|_| panic!("it did not end within {limit:?}\n{}", shown(&self.err)));
        while self.readers.join_next().await.is_some() {}
        (status.expect("a process"), shown(&self.err))
    }
}

fn rest_of_line(lines: &Lines, prefix: &str) -> Option<String> {
    let lines = lines.lock().expect("nobody panics with it");
    lines
        .iter()
        .find_map(|line| line.strip_prefix(prefix).map(|rest| rest.trim().to_owned()))
}

fn shown(lines: &Lines) -> String {
    lines.lock().expect("nobody panics with it").join("\n")
}

async fn collect(pipe: impl AsyncRead + Unpin, lines: Lines) {
    let mut reader = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = reader.next_line().await {
        lines.lock().expect("nobody panics with it").push(line);
    }
}

/// `holdfast serve`, and where it serves.
pub struct Server {
    /// The process.
    pub process: Running,
    /// Where buyers are served.
    pub buyers: String,
    /// Where operators are served.
    pub operators: String,
}

/// How a server is started, again and again.
#[derive(Clone)]
pub struct ServeSettings {
    arguments: Vec<String>,
    variables: BTreeMap<String, String>,
}

impl ServeSettings {
    /// Embedded, in this data directory, on free ports.
    pub fn embedded(data_dir: &Path) -> Self {
        Self {
            arguments: vec!["--data-dir".into(), data_dir.display().to_string()],
            variables: BTreeMap::new(),
        }
        .on(0, 0)
    }

    /// On these ports; 0 is a free one.
    pub fn on(mut self, buyers: u16, operators: u16) -> Self {
        self.variables
            .insert("HOLDFAST_LISTEN".into(), format!("127.0.0.1:{buyers}"));
        self.variables.insert(
            "HOLDFAST_OPERATORS_LISTEN".into(),
            format!("127.0.0.1:{operators}"),
        );
        self
    }

    /// With this variable.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Starts it without waiting for anything.
    pub fn spawn(&self) -> Running {
        let mut arguments = vec!["serve"];
        arguments.extend(self.arguments.iter().map(String::as_str));
        Running::start(holdfast(&arguments, &self.variables))
    }

    /// Starts it on a disk that is nearly full: none of its files grows beyond so many blocks of 512 bytes.
    pub async fn start_with_files_up_to(&self, blocks: u32) -> Server {
        // A signal that is ignored stays ignored in the program: it sees a write that fails, as on a full disk.
        let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" serve \"$@\"");
        let program = env!("CARGO_BIN_EXE_holdfast");
        let arguments = ["-c", &limited, program];
        let arguments = arguments
            .into_iter()
            .chain(self.arguments.iter().map(String::as_str));
        let command = isolated("sh", &arguments.collect::<Vec<_>>(), &self.variables);
        Self::served(Running::start(command)).await
    }

    /// Starts it, and waits until it serves.
    pub async fn start(&self) -> Server {
        Self::served(self.spawn()).await
    }

    async fn served(mut process: Running) -> Server {
        let buyers = process.line("buyers ").await;
        let operators = process.line("operators ").await;
        Server {
            process,
            buyers,
            operators,
        }
    }
}

/// A port that nobody uses, below those that the system hands out: it stays free between a kill and the next start.
pub fn free_port() -> u16 {
    let random = engine::Runtime::system();
    for _ in 0..200 {
        let port = 10_000 + u16::try_from(random.next_u64() % 20_000).expect("small");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free between 10000 and 30000");
}
