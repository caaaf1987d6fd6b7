//! The program as users run it: with nothing but what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{LazyLock, Mutex};

use tokio::process::Command;
use tokio::time::timeout;

use super::PATIENCE;
pub use super::running::Running;

/// The variables that would turn a test's embedded program into a production one.
const FOREIGN: [&str; 14] = [
    "DATABASE_URL",
    "REDIS_URL",
    "KAFKA_BROKERS",
    "PG_URL",
    "HOLDFAST_TOKEN_KEY",
    "HOLDFAST_TOKEN_KEY_PREVIOUS",
    "HOLDFAST_WEBHOOK_SECRET",
    "HOLDFAST_WEBHOOK_SECRET_PREVIOUS",
    "HOLDFAST_OPERATOR_TOKEN",
    "HOLDFAST_OPERATORS_URL",
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

/// `holdfast serve`, and where it serves.
pub struct Server {
    /// The process.
    pub process: Running,
    /// Where buyers are served.
    pub buyers: String,
    /// Where operators are served.
    pub operators: String,
    /// The token of an admin, alice.
    pub operator_token: String,
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
        self.served(Running::start(command)).await
    }

    /// Starts it, and waits until it serves.
    pub async fn start(&self) -> Server {
        self.served(self.spawn()).await
    }

    async fn served(&self, mut process: Running) -> Server {
        let buyers = process.line("buyers ").await;
        let operators = process.line("operators ").await;
        Server {
            process,
            buyers,
            operators,
            operator_token: self.operator_token("admin", "alice").await,
        }
    }

    /// An operator's token for this server, good for as long as a test takes.
    pub async fn operator_token(&self, role: &str, name: &str) -> String {
        self.token(&["--role", role, "--subject", name]).await
    }

    /// What `holdfast token` prints with these arguments where this server's key is.
    pub async fn token(&self, arguments: &[&str]) -> String {
        let own = self.arguments.iter().map(String::as_str);
        let arguments: Vec<&str> = ["token"]
            .into_iter()
            .chain(own)
            .chain(arguments.iter().copied())
            .collect();
        let output = run(&arguments, &self.variables).await;
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.trim().to_owned()
    }
}

/// A port that nobody uses, below those that the system hands out: it stays free between a kill and the next start, and no other test
/// is given it meanwhile.
pub fn free_port() -> u16 {
    static GIVEN: LazyLock<Mutex<BTreeSet<u16>>> = LazyLock::new(Mutex::default);
    let random = engine::Runtime::system();
    let mut given = GIVEN.lock().expect("nobody panics with it");
    for _ in 0..200 {
        let port = 10_000 + u16::try_from(random.next_u64() % 20_000).expect("small");
        let is_free = || std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if !given.contains(&port) && is_free() {
            given.insert(port);
            return port;
        }
    }
    drop(given);
    panic!("no port is free between 10000 and 30000");
}
