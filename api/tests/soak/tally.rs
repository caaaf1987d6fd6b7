//! What has really happened, counted where it happens.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// What is counted, in the order in which it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    Kills,
    KillsWhileStarting,
    StartsThatFailed,
    Wakes,
    StaleBatchesRefused,
    FencedByTheNodes,
    CommitsCut,
    Partitions,
    SlowLinks,
    MysqlKills,
    RedisFlushed,
    RedisScriptsFlushed,
    RedisRestartedEmpty,
    RedisRestartedOlder,
    KafkaStops,
    GatewayAway,
    GatewaySlow,
    GatewayWrong,
    Sales,
    Crowds,
    Acknowledged,
    Completed,
    TurnedBack,
    Refused,
    Refunded,
    Parked,
    Unavailable,
    Repeats,
    AskedAgain,
}

impl Counted {
    /// All of it.
    const ALL: [Self; 29] = [
        Self::Kills,
        Self::KillsWhileStarting,
        Self::StartsThatFailed,
        Self::Wakes,
        Self::StaleBatchesRefused,
        Self::FencedByTheNodes,
        Self::CommitsCut,
        Self::Partitions,
        Self::SlowLinks,
        Self::MysqlKills,
        Self::RedisFlushed,
        Self::RedisScriptsFlushed,
        Self::RedisRestartedEmpty,
        Self::RedisRestartedOlder,
        Self::KafkaStops,
        Self::GatewayAway,
        Self::GatewaySlow,
        Self::GatewayWrong,
        Self::Sales,
        Self::Crowds,
        Self::Acknowledged,
        Self::Completed,
        Self::TurnedBack,
        Self::Refused,
        Self::Refunded,
        Self::Parked,
        Self::Unavailable,
        Self::Repeats,
        Self::AskedAgain,
    ];

    const fn words(self) -> &'static str {
        match self {
            Self::Kills => "kills of a node that served",
            Self::KillsWhileStarting => "kills of a node that was starting",
            Self::StartsThatFailed => "starts that failed because something was away",
            Self::Wakes => "wakes after more than two leases",
            Self::StaleBatchesRefused => "stale batches that arrived and were fenced",
            Self::FencedByTheNodes => "batches that woken nodes saw refused",
            Self::CommitsCut => "answers to a COMMIT cut",
            Self::Partitions => "partitions of a node from MySQL",
            Self::SlowLinks => "slow links of a node to MySQL",
            Self::MysqlKills => "kills of MySQL",
            Self::RedisFlushed => "Redis flushed",
            Self::RedisScriptsFlushed => "Redis's scripts flushed",
            Self::RedisRestartedEmpty => "Redis killed, and back empty",
            Self::RedisRestartedOlder => "Redis killed, and back with older data",
            Self::KafkaStops => "Kafka stopped",
            Self::GatewayAway => "gateway killed, and back on its ledger",
            Self::GatewaySlow => "gateway slow",
            Self::GatewayWrong => "gateway wrong",
            Self::Sales => "sales",
            Self::Crowds => "crowds",
            Self::Acknowledged => "purchases acknowledged",
            Self::Completed => "of them completed",
            Self::TurnedBack => "of them turned back",
            Self::Refunded => "of them refunded",
            Self::Parked => "of them parked for an operator",
            Self::Refused => "buyers refused without a purchase",
            Self::Unavailable => "answers 503, or none",
            Self::Repeats => "repeats that named the same purchase",
            Self::AskedAgain => "questions about acknowledged purchases in the end",
        }
    }

    /// The ways in which Redis forgets.
    pub const REDIS: [Self; 4] = [
        Self::RedisFlushed,
        Self::RedisScriptsFlushed,
        Self::RedisRestartedEmpty,
        Self::RedisRestartedOlder,
    ];
}

/// The counts.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<Counted, u64>>);

impl Tally {
    /// Once more.
    pub fn one(&self, what: Counted) {
        self.more(what, 1);
    }

    /// So many more.
    pub fn more(&self, what: Counted, count: u64) {
        let mut counts = self.0.lock().expect("nobody panics with it");
        *counts.entry(what).or_default() += count;
    }

    /// Once more, if it took effect; a line says so if it did not.
    pub fn one_if(&self, what: Counted, took_effect: bool) {
        if took_effect {
            self.one(what);
        } else {
            println!("without effect, not counted: {}", what.words());
        }
    }

    /// How often.
    pub fn of(&self, what: Counted) -> u64 {
        let counts = self.0.lock().expect("nobody panics with it");
        counts.get(&what).copied().unwrap_or_default()
    }

    /// A line each.
    pub fn lines(&self) -> Vec<String> {
        let line = |what: Counted| line(what.words(), self.of(what));
        Counted::ALL.into_iter().map(line).collect()
    }
}

/// A line of the table.
pub fn line(words: &str, count: u64) -> String {
    format!("soak  {words:<52} {count:>8}")
}
