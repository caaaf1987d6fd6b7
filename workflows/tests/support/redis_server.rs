//! A redis-server of a test's own, for what would disturb the shared one: it can be flushed, frozen, killed, given an older copy of
//! its data, or become another's replica.
#![expect(dead_code, reason = "each suite does some of this to its servers")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::patience::{PATIENCE, PAUSE};

/// Keeps every write, so that a restart has the data: as in production.
const OPTIONS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
/// So many ports are tried: one that was free may be taken by the time that the server wants it.
const PORTS_MAX: u32 = 5;

/// A server.
pub struct RedisServer {
    process: Child,
    folder: TempDir,
    port: u16,
    options: &'static [&'static str],
}

impl RedisServer {
    /// A running server, or `None` (never in CI) where none can be had.
    pub async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// The one node of a cluster, with all slots.
    pub async fn start_cluster() -> Option<Self> {
        let server = Self::start_with(&["--cluster-enabled", "yes"]).await?;
        server.command("CLUSTER ADDSLOTSRANGE 0 16383").await;
        server.says("CLUSTER INFO", &["cluster_state:ok"]).await;
        Some(server)
    }

    async fn start_with(options: &'static [&'static str]) -> Option<Self> {
        for _ in 0..PORTS_MAX {
            let folder = tempfile::tempdir().unwrap();
            let port = free_port();
            let process = match command(port, folder.path(), options).spawn() {
                Ok(process) => process,
                Err(error) => return none(&error.to_string()),
            };
            let mut server = Self {
                process,
                folder,
                port,
                options,
            };
            if server.becomes_ready().await {
                return Some(server);
            }
        }
        none("it ended before it answered")
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection past the adapter.
    pub async fn raw(&self) -> MultiplexedConnection {
        raw_connection(&self.url()).await
    }

    /// Runs a command such as `FLUSHALL`, past the adapter.
    pub async fn command(&self, words: &str) {
        let words: Vec<&str> = words.split(' ').collect();
        let _: redis::Value = self.ask(&words).await;
    }

    /// The answer to a command, past the adapter.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut self.raw().await).await.unwrap()
    }

    /// Waits until the answer to a command has all of these words.
    async fn says(&self, command: &str, words: &[&str]) {
        let command: Vec<&str> = command.split(' ').collect();
        let begun = Instant::now();
        loop {
            let answer: String = self.ask(&command).await;
            if words.iter().all(|word| answer.contains(word)) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{answer}");
            sleep(PAUSE).await;
        }
    }

    /// A copy of its data as it is now.
    pub fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(self.folder.path(), copy.path());
        copy
    }

    /// Kills it as a crash does.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again, on the same port and data.
    pub async fn start_again(&mut self) {
        self.process = command(self.port, self.folder.path(), self.options)
            .spawn()
            .unwrap();
        assert!(self.becomes_ready().await, "it did not start again");
    }

    /// Kills it as a crash does, and starts it again on these data, or on none.
    pub async fn restart_on(&mut self, copy: Option<&TempDir>) {
        self.kill();
        self.folder = tempfile::tempdir().unwrap();
        if let Some(copy) = copy {
            copy_folder(copy.path(), self.folder.path());
        }
        self.start_again().await;
    }

    /// Makes it a replica of `of`, and waits until it has everything.
    pub async fn follow(&self, of: &Self) {
        self.command(&format!("REPLICAOF 127.0.0.1 {}", of.port))
            .await;
        let has_all = ["master_link_status:up", "master_sync_in_progress:0"];
        self.says("INFO replication", &has_all).await;
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

    /// Whether it answers, and not somebody else at its port, before it ends.
    async fn becomes_ready(&mut self) -> bool {
        let own = format!("process_id:{}\r", self.process.id());
        let begun = Instant::now();
        while self.process.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE {
            if info(&self.url())
                .await
                .is_some_and(|info| info.contains(&own))
            {
                return true;
            }
            sleep(PAUSE).await;
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection past the adapter, patient with a busy machine.
pub async fn raw_connection(url: &str) -> MultiplexedConnection {
    let client = Client::open(url).unwrap();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let connected = client.get_multiplexed_async_connection_with_config(&config);
    connected.await.unwrap()
}

/// What the server at this address says of itself, if there is one that answers.
async fn info(url: &str) -> Option<String> {
    let client = Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    let mut info = Cmd::new();
    info.arg("INFO").arg("server");
    info.query_async(&mut connection).await.ok()
}

/// There is no server; in CI there must be one.
fn none<T>(why: &str) -> Option<T> {
    assert!(
        std::env::var("CI").is_err(),
        "CI needs a redis-server: {why}"
    );
    eprintln!("skipped: no redis-server can be started: {why}");
    None
}

fn command(port: u16, folder: &Path, options: &[&str]) -> Command {
    let port = port.to_string();
    let mut command = if let Some(script) = std::env::var_os("HOLDFAST_SERVERS_SCRIPT") {
        let mut command = Command::new(script);
        command.args(["start-one", "redis", "--port", &port, "--dir"]);
        command.arg(folder).arg("--");
        command
    } else {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port, "--dir"]);
        command.arg(folder).args(["--save", ""]);
        command
    };
    command.args(OPTIONS).args(options);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A port that nothing listens on, now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
