//! MySQL, Redis and Kafka: those that the environment names, and own ones that a test may kill.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::process::{ServeSettings, free_port};
use super::{eventually, unique};

/// What the payment gateway of tests signs its webhooks with.
pub const WEBHOOK_SECRET: &str = "a secret for tests that is long enough to be taken";

/// What the tokens of tests are signed with.
pub const TOKEN_KEY: &str = "a key for tests that is long enough to be taken";

/// The servers of the environment, each with a corner of its own for one test.
pub struct Servers {
    /// A database that nobody else uses.
    pub database_url: String,
    /// Redis.
    pub redis_url: String,
    /// Kafka.
    pub kafka_brokers: String,
    /// A topic that nobody else uses.
    pub topic: String,
}

impl Servers {
    /// `None`, with a line that says so, when they are not there; with `CI=true` that is a failure.
    pub fn from_environment() -> Option<Self> {
        let (database_url, redis_url, kafka_brokers) = (
            variable("DATABASE_URL"),
            variable("REDIS_URL"),
            variable("KAFKA_BROKERS"),
        );
        let (Some(database_url), Some(redis_url), Some(kafka_brokers)) =
            (database_url, redis_url, kafka_brokers)
        else {
            skip("DATABASE_URL, REDIS_URL and KAFKA_BROKERS are not set");
            return None;
        };
        let database_url = with_database(&database_url, &unique("holdfast_test").replace('-', "_"));
        Some(Self {
            database_url,
            redis_url,
            kafka_brokers,
            topic: unique("test.holdfast"),
        })
    }

    /// A server over them.
    pub fn serve(&self, data_dir: &Path) -> ServeSettings {
        let Self {
            database_url,
            redis_url,
            kafka_brokers,
            topic,
        } = self;
        serve_over(data_dir, [database_url, redis_url, kafka_brokers])
            .with("HOLDFAST_KAFKA_TOPIC", topic)
    }
}

/// A server over the database, Redis and Kafka.
fn serve_over(data_dir: &Path, [database_url, redis_url, brokers]: [&str; 3]) -> ServeSettings {
    ServeSettings::embedded(data_dir)
        .with("DATABASE_URL", database_url)
        .with("REDIS_URL", redis_url)
        .with("KAFKA_BROKERS", brokers)
        .with("HOLDFAST_NODE", unique("node"))
        .with("HOLDFAST_TOKEN_KEY", TOKEN_KEY)
        .with("HOLDFAST_WEBHOOK_SECRET", WEBHOOK_SECRET)
}

/// MySQL, Redis and Kafka of this test's own.
pub struct OwnServers {
    pub mysql: OwnServer,
    pub redis: OwnServer,
    pub kafka: OwnServer,
}

impl OwnServers {
    /// `None` where there is nothing to start them with, as of [`OwnServer::start`].
    pub async fn start() -> Option<Self> {
        let (mysql, redis, kafka) = tokio::join!(
            OwnServer::start("mysql", &[]),
            OwnServer::start("redis", &[]),
            OwnServer::start("kafka", &[])
        );
        Some(Self {
            mysql: mysql?,
            redis: redis?,
            kafka: kafka?,
        })
    }

    /// A server over them.
    pub fn serve(&self, data_dir: &Path) -> ServeSettings {
        let database = format!("mysql://root@{}/holdfast", self.mysql.address());
        let redis = format!("redis://{}", self.redis.address());
        serve_over(data_dir, [&database, &redis, &self.kafka.address()])
    }
}

/// Has Redis carry out commands, one a line, past the program. Each must have an answer of one line that is no error.
pub async fn ask_redis(url: &str, commands: &str) {
    let address = url.trim_start_matches("redis://");
    let address = address.split('/').next().expect("an address");
    let mut redis = BufStream::new(TcpStream::connect(address).await.expect("it is there"));
    for command in commands.lines() {
        let sent = format!("{command}\r\n");
        redis.write_all(sent.as_bytes()).await.expect("sent");
        redis.flush().await.expect("sent");
        let mut answer = String::new();
        redis.read_line(&mut answer).await.expect("an answer");
        assert!(answer.starts_with(['+', ':']), "{command}: {answer}");
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn skip(why: &str) {
    assert_ne!(
        std::env::var("CI").as_deref(),
        Ok("true"),
        "CI=true, and {why}"
    );
    println!("skipped: {why}");
}

fn with_database(url: &str, name: &str) -> String {
    let mut url = reqwest::Url::parse(url).expect("DATABASE_URL is a URL");
    url.set_path(name);
    url.into()
}

/// A server of this test's own, which it may stop and start again on the same port with the same data.
pub struct OwnServer {
    kind: &'static str,
    script: PathBuf,
    port: u16,
    folder: TempDir,
    options: Vec<&'static str>,
    child: Option<Child>,
}

impl OwnServer {
    /// `None`, with a line that says so, when there is nothing to start it with; with `CI=true` that is a failure.
    pub async fn start(kind: &'static str, options: &[&'static str]) -> Option<Self> {
        let Some(script) = variable("HOLDFAST_SERVERS_SCRIPT").map(PathBuf::from) else {
            skip("HOLDFAST_SERVERS_SCRIPT is not set");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Self {
            kind,
            script,
            port: free_port(),
            folder,
            options: options.to_vec(),
            child: None,
        };
        server.start_again().await;
        Some(server)
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where its data is.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts it, and waits until it accepts connections.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log");
        let mut command = Command::new(&self.script);
        command
            .args([
                "start-one",
                self.kind,
                "--port",
                &self.port.to_string(),
                "--dir",
            ])
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .kill_on_drop(true);
        if !self.options.is_empty() {
            command.arg("--").args(&self.options);
        }
        let mut child = command.spawn().expect("the script runs");
        let what = format!("{} to listen on {}", self.kind, self.port);
        eventually(&what, || {
            if let Some(status) = child.try_wait().expect("a process") {
                let log =
                    std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("{} ended with {status}\n{log}", self.kind);
            }
            let ready = self.log_says_ready();
            async move { ready.then_some(()) }
        })
        .await;
        self.child = Some(child);
    }

    fn log_says_ready(&self) -> bool {
        let ready = match self.kind {
            "mysql" => "ready for connections",
            "redis" => "Ready to accept connections",
            _ => "Kafka Server started",
        };
        std::fs::read_to_string(self.folder.path().join("log"))
            .unwrap_or_default()
            .contains(ready)
    }

    /// Redis loses everything: `FLUSHALL`, and `SCRIPT FLUSH` as well.
    pub async fn flush(&self) {
        ask_redis(&self.address(), "FLUSHALL\nSCRIPT FLUSH").await;
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().await.expect("it can be killed");
    }
}
