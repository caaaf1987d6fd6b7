//! Every setting, once: as a flag, as a variable of the environment (the flag wins), with its default and its bounds.
//! `holdfast COMMAND --help` prints this very text. Values that hold a secret are never printed.

#![expect(
    clippy::doc_markdown,
    reason = "`--help` prints this text, where backticks are noise"
)]

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use engine::Runtime;

use crate::auth::KEY_BYTES_MIN;
use crate::exit::{Code, Failure};

/// Text that may hold a secret: readable by the program, never shown.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// 256 random bits in hexadecimal.
    pub fn random(runtime: &Runtime) -> Self {
        let mut text = String::with_capacity(64);
        for _ in 0..4 {
            write!(text, "{:016x}", runtime.next_u64()).expect("a String takes all");
        }
        Self(text)
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Where things are kept and who is asked. Without the three servers' URLs everything is embedded.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Where things are kept")]
pub struct Backend {
    /// Where embedded mode keeps its database, its token key and the simulated gateway's ledger.
    #[arg(
        long,
        env = "HOLDFAST_DATA_DIR",
        default_value = "holdfast-data",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,

    /// MySQL or MariaDB, such as mysql://user:password@host:3306/database. Needs REDIS_URL and KAFKA_BROKERS.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<Secret>,

    /// Redis, such as redis://host:6379. Needs DATABASE_URL and KAFKA_BROKERS.
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: Option<Secret>,

    /// Kafka, such as host:9092,host:9092. Needs DATABASE_URL and REDIS_URL.
    #[arg(long, env = "KAFKA_BROKERS", value_name = "BROKERS")]
    pub kafka_brokers: Option<String>,

    /// The topic that journal events are published to.
    #[arg(
        long,
        env = "HOLDFAST_KAFKA_TOPIC",
        default_value = "holdfast.events",
        value_name = "TOPIC"
    )]
    pub kafka_topic: String,

    /// The payment gateway, such as http://host:9090. Without it a simulated one runs inside.
    #[arg(long, env = "PG_URL", hide_env_values = true, value_name = "URL")]
    pub pg_url: Option<Secret>,

    /// Where the gateway sends buyers back to, with `order_id` and `authorization` in the query: a page of the shop, which then
    /// calls POST /v1/purchases/{order_id}/confirm. Without it the buyer stays on the gateway's last page.
    #[arg(long, env = "HOLDFAST_RETURN_URL", value_name = "URL")]
    pub return_url: Option<String>,

    /// How long one request to the payment gateway may take; then what became of it is unknown, and asked about.
    #[arg(
        long,
        env = "HOLDFAST_PG_TIMEOUT",
        default_value = "10s",
        value_name = "TIME",
        value_parser = duration_between(Duration::from_millis(100), Duration::from_secs(14))
    )]
    pub pg_timeout: Duration,

    /// What tokens are signed with, at least 32 bytes; the same on every node. Required with servers; embedded mode makes
    /// one and keeps it. Better given by the environment than by the flag.
    #[arg(
        long,
        env = "HOLDFAST_TOKEN_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub token_key: Option<Secret>,

    /// What tokens were signed with before: still believed, never signed with. For as long as a rotation of the key takes.
    #[arg(
        long,
        env = "HOLDFAST_TOKEN_KEY_PREVIOUS",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub token_key_previous: Option<Secret>,

    /// What the payment gateway signs its webhooks with, at least 32 bytes. Required with servers and PG_URL; the simulated
    /// gateway gets one by itself.
    #[arg(
        long,
        env = "HOLDFAST_WEBHOOK_SECRET",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub webhook_secret: Option<Secret>,

    /// What it signed them with before: still believed. For as long as a rotation of the secret takes.
    #[arg(
        long,
        env = "HOLDFAST_WEBHOOK_SECRET_PREVIOUS",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub webhook_secret_previous: Option<Secret>,

    /// The name under which this node owns partitions; a name of its own for each node. [default: the host's name]
    #[arg(long, env = "HOLDFAST_NODE", value_name = "NAME")]
    pub node: Option<String>,

    /// Workflows in memory at most; a purchase beyond that is answered with 503.
    #[arg(
        long,
        env = "HOLDFAST_IN_FLIGHT_MAX",
        default_value_t = 4_096,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub in_flight_max: u32,

    /// Partitions that this node owns at least; each has a journal writer and a connection. [default: 2, and 1 on SQLite, whose writers take turns]
    #[arg(
        long,
        env = "HOLDFAST_PARTITIONS",
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=64)
    )]
    pub partitions: Option<u16>,

    /// How long this node's partitions stay its own when nothing is heard of it: so long after a crash others take them
    /// over. Shorter than the database's worst pause, and the node loses them for nothing.
    #[arg(
        long,
        env = "HOLDFAST_LEASE",
        default_value = "10s",
        value_name = "TIME",
        value_parser = duration_between(Duration::from_secs(1), Duration::from_mins(5))
    )]
    pub lease: Duration,

    /// Workflows that ended so long ago are removed with their events, and their start keys are forgotten. Without it all are
    /// kept.
    #[arg(
        long,
        env = "HOLDFAST_RETENTION",
        value_name = "TIME",
        value_parser = duration_between(Duration::from_hours(1), Duration::from_hours(24 * 3_650))
    )]
    pub retention: Option<Duration>,

    /// A file to which each workflow is written, one a line, before it is removed.
    #[arg(
        long,
        env = "HOLDFAST_ARCHIVE",
        value_name = "FILE",
        requires = "retention"
    )]
    pub archive: Option<PathBuf>,
}

/// The servers of production.
#[derive(Clone, Debug)]
pub struct Servers {
    /// MySQL.
    pub database_url: Secret,
    /// Redis.
    pub redis_url: Secret,
    /// Kafka.
    pub kafka_brokers: String,
}

impl Backend {
    /// The servers' URLs, or `None` for embedded mode; one or two of the three are a mistake.
    pub fn servers(&self) -> Result<Option<Servers>, Failure> {
        match (&self.database_url, &self.redis_url, &self.kafka_brokers) {
            (None, None, None) => Ok(None),
            (Some(database_url), Some(redis_url), Some(kafka_brokers)) => Ok(Some(Servers {
                database_url: database_url.clone(),
                redis_url: redis_url.clone(),
                kafka_brokers: kafka_brokers.clone(),
            })),
            (database_url, redis_url, kafka_brokers) => {
                let missing: Vec<&str> = [
                    ("DATABASE_URL", database_url.is_none()),
                    ("REDIS_URL", redis_url.is_none()),
                    ("KAFKA_BROKERS", kafka_brokers.is_none()),
                ]
                .into_iter()
                .filter_map(|(name, missing)| missing.then_some(name))
                .collect();
                Err(Failure::new(
                    Code::Configuration,
                    format!(
                        "{} is not set: production needs DATABASE_URL, REDIS_URL and KAFKA_BROKERS together; \
                         set all three, or none of them for embedded mode",
                        missing.join(" and ")
                    ),
                ))
            }
        }
    }

    /// The key for tokens as it was given, checked; `None` when none was.
    pub fn given_token_key(&self) -> Result<Option<&[u8]>, Failure> {
        checked_key("HOLDFAST_TOKEN_KEY", self.token_key.as_ref())
    }

    /// The key before it as it was given, checked; `None` when none was.
    pub fn previous_token_key(&self) -> Result<Option<&[u8]>, Failure> {
        checked_key(
            "HOLDFAST_TOKEN_KEY_PREVIOUS",
            self.token_key_previous.as_ref(),
        )
    }
}

/// What the payment gateway signs its webhooks with.
#[derive(Clone, Debug)]
pub struct WebhookSecrets {
    now: Secret,
    previous: Option<Secret>,
}

impl WebhookSecrets {
    /// As they were given, checked. A gateway in this process gets one that nobody else knows; so does one of which nobody told the
    /// secret, unless there are servers: then it is a mistake.
    pub fn given(backend: &Backend, runtime: &Runtime) -> Result<Self, Failure> {
        let (now, previous) = (&backend.webhook_secret, &backend.webhook_secret_previous);
        checked_key("HOLDFAST_WEBHOOK_SECRET", now.as_ref())?;
        checked_key("HOLDFAST_WEBHOOK_SECRET_PREVIOUS", previous.as_ref())?;
        if now.is_none() && backend.pg_url.is_some() && backend.servers()?.is_some() {
            return Err(Failure::new(
                Code::Configuration,
                "HOLDFAST_WEBHOOK_SECRET is not set: with servers and PG_URL give the secret of at least 32 bytes with which the \
                 payment gateway signs its webhooks",
            ));
        }
        Ok(Self {
            now: now.clone().unwrap_or_else(|| Secret::random(runtime)),
            previous: previous.clone(),
        })
    }

    /// The one that is signed with now.
    pub const fn now(&self) -> &Secret {
        &self.now
    }

    /// All that are believed.
    pub fn keys(&self) -> Vec<&[u8]> {
        let all = [Some(&self.now), self.previous.as_ref()];
        let all = all.into_iter().flatten();
        all.map(|secret| secret.expose().as_bytes()).collect()
    }
}

/// A key for tokens is long enough. Its name is told, and its length, and nothing else.
pub fn checked_key<'a>(name: &str, key: Option<&'a Secret>) -> Result<Option<&'a [u8]>, Failure> {
    let key = key.map(|key| key.expose().as_bytes());
    match key {
        Some(key) if key.len() < KEY_BYTES_MIN => Err(Failure::new(
            Code::Configuration,
            format!(
                "{name} has {} bytes: give at least {KEY_BYTES_MIN} random ones, \
                 for example from `openssl rand -hex 32`",
                key.len()
            ),
        )),
        key => Ok(key),
    }
}

/// Who is served, and how it ends.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Who is served")]
#[expect(
    clippy::struct_field_names,
    reason = "the fields are named as their flags"
)]
pub struct Listen {
    /// Where buyers are served.
    #[arg(
        long,
        env = "HOLDFAST_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,

    /// Where operators are served, each by a token with a role; keep it private all the same.
    #[arg(
        long,
        env = "HOLDFAST_OPERATORS_LISTEN",
        default_value = "127.0.0.1:8081",
        value_name = "ADDRESS"
    )]
    pub operators_listen: SocketAddr,

    /// A client that takes nothing of what it is sent for so long is cut off.
    #[arg(
        long,
        env = "HOLDFAST_STALLED_MAX",
        default_value = "30s",
        value_name = "TIME",
        value_parser = duration_between(Duration::from_secs(1), Duration::from_mins(10))
    )]
    pub stalled_max: Duration,

    /// How long a stop may take: what is under way is finished or left durable for the next start.
    #[arg(
        long,
        env = "HOLDFAST_DRAIN_TIMEOUT",
        default_value = "10s",
        value_name = "TIME",
        value_parser = duration_between(Duration::from_millis(100), Duration::from_mins(10))
    )]
    pub drain_timeout: Duration,
}

/// A parser for times such as `10s`, `500ms` or `2m` within bounds.
pub fn duration_between(
    min: Duration,
    max: Duration,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| {
        let duration = parse_duration(text)?;
        if (min..=max).contains(&duration) {
            Ok(duration)
        } else {
            Err(format!("must be between {min:?} and {max:?}"))
        }
    }
}

/// A whole number with its unit: `ms`, `s`, `m`, `h` or `d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a whole number with ms, s, m, h or d, such as 10s".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => number,
        "s" => number.checked_mul(1_000).ok_or_else(wrong)?,
        "m" => number.checked_mul(60_000).ok_or_else(wrong)?,
        "h" => number.checked_mul(3_600_000).ok_or_else(wrong)?,
        "d" => number.checked_mul(86_400_000).ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_whole_number_and_a_unit() {
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_mins(2)));
        assert_eq!(parse_duration("36h"), Ok(Duration::from_hours(36)));
        assert_eq!(parse_duration("30d"), Ok(Duration::from_hours(720)));
        for wrong in [
            "",
            "10",
            "s",
            "1.5s",
            "-1s",
            "10y",
            "99999999999999999999s",
            "18446744073709551615s",
            "1 s",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret("mysql://root:hunter2@localhost/x".into());
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
