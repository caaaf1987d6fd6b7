//! A redis-server of a test's own, for what would disturb the shared one: flushing, stopping, restarting it.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, Value};
use tempfile::TempDir;

use crate::harness::{raw_connection, skip_unless_ci};

/// A start that takes longer has failed.
const START_TIMEOUT: Duration = Duration::from_mins(1);
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// Keeps every write, so that a restart has the data: as in production.
const OPTIONS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

pub struct OwnServer {
    process: Child,
    folder: TempDir,
    port: u16,
}

impl OwnServer {
    /// A running server, or `None` (never in CI) where none can be had.
    pub async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let process = match command(port, &folder).spawn() {
            Ok(process) => process,
            Err(error) => {
                skip_unless_ci(&format!("no redis-server can be started: {error}"));
                return None;
            }
        };
        let mut server = Self {
            process,
            folder,
            port,
        };
        if !server.becomes_ready().await {
            skip_unless_ci("the redis-server did not start");
            return None;
        }
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection past the adapter.
    pub async fn raw(&self) -> MultiplexedConnection {
        raw_connection(&self.url()).await
    }

    /// Runs a command such as `FLUSHALL`, past the adapter.
    pub async fn command(&self, words: &str) {
        let mut command = Cmd::new();
        words.split(' ').for_each(|word| {
            command.arg(word);
        });
        command
            .query_async::<Value>(&mut self.raw().await)
            .await
            .unwrap();
    }

    /// Kills it as a crash does.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again, on the same port and data.
    pub async fn start_again(&mut self) {
        self.process = command(self.port, &self.folder).spawn().unwrap();
        assert!(
            self.becomes_ready().await,
            "the redis-server did not start again"
        );
    }

    /// Freezes it: connections stay open, nothing answers.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill")
            .arg(signal)
            .arg(self.process.id().to_string())
            .status();
        assert!(kill.unwrap().success());
    }

    async fn becomes_ready(&mut self) -> bool {
        let ready = async {
            loop {
                if self.process.try_wait().unwrap().is_some() {
                    return false;
                }
                if answers(&self.url()).await {
                    return true;
                }
                tokio::time::sleep(POLL_PAUSE).await;
            }
        };
        tokio::time::timeout(START_TIMEOUT, ready)
            .await
            .unwrap_or(false)
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn answers(url: &str) -> bool {
    let client = Client::open(url).unwrap();
    let Ok(mut connection) = client.get_multiplexed_async_connection().await else {
        return false;
    };
    Cmd::new()
        .arg("PING")
        .query_async::<Value>(&mut connection)
        .await
        .is_ok()
}

fn command(port: u16, folder: &TempDir) -> Command {
    let (port, script) = (
        port.to_string(),
        std::env::var_os("HOLDFAST_SERVERS_SCRIPT"),
    );
    let mut command = if let Some(script) = &script {
        let mut command = Command::new(script);
        command.args(["start-one", "redis", "--port", &port, "--dir"]);
        command.arg(folder.path()).arg("--");
        command
    } else {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port, "--dir"]);
        command.arg(folder.path()).args(["--save", ""]);
        command
    };
    command.args(OPTIONS);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A port that nothing listens on, now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
