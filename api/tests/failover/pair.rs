//! Two nodes over the same servers and one payment gateway, crowds at both, and what must be true in the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::ids::Ident;
use engine::store::{ConnectOptions, Head, PartitionRow, SqlDatabase, Store, mysql};
use engine::{NodeName, PartitionId};
use loadtest::driver::{self, Acknowledged, Check, Progress, Report};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::gateway::{ledger, set_rules, silent_gateway};
use crate::support::http::{client, send};
use crate::support::process::{Running, Server};
use crate::support::servers::Servers;
use crate::support::shop::Shop;
use crate::support::{PATIENCE, eventually, seed, unique};

/// The lease of both.
pub const LEASE: Duration = Duration::from_secs(3);
/// The partitions of each.
const PARTITIONS: usize = 2;
/// The gateway takes its time, so that there is something under way at any moment.
const GATEWAY_LATENCY_MS: u64 = 100;
/// The saga of a sale's opening, which waits until the sale closes.
const OPENING: &str = "opening";
const NAMES: [&str; 2] = ["one", "two"];

/// Two nodes.
pub struct Pair {
    /// Those that live.
    pub nodes: [Option<Server>; 2],
    sale: String,
    store: Arc<dyn Store>,
    database: SqlDatabase,
    gateway_url: String,
    acknowledged: Vec<Acknowledged>,
    repeats: Check,
    _gateway: Running,
    _folder: tempfile::TempDir,
}

/// Crowds at work, and how to send them away.
pub struct Crowds {
    at_work: JoinSet<Report>,
    go_away: watch::Sender<bool>,
}

impl Pair {
    /// `None` where there are no servers.
    pub async fn start() -> Option<Self> {
        let servers = Servers::from_environment()?;
        let folder = tempfile::tempdir().expect("a folder");
        let (gateway, gateway_url) = silent_gateway(folder.path()).await;
        let rules = json!({ "latency_ms": GATEWAY_LATENCY_MS, "latency_jitter_ms": 2 * GATEWAY_LATENCY_MS });
        set_rules(&client(), &gateway_url, &rules).await;
        let settings = |name: &str| {
            servers
                .serve(&folder.path().join(name))
                .with("HOLDFAST_NODE", name)
                .with("HOLDFAST_PARTITIONS", PARTITIONS.to_string())
                .with("HOLDFAST_LEASE", format!("{}s", LEASE.as_secs()))
                .with("PG_URL", &gateway_url)
        };
        let one = settings(NAMES[0]).start().await;
        let two = settings(NAMES[1]).start().await;
        let sale = unique("drop");
        let _opened = Shop::open(&one, &sale, 100_000, 100_000).await;
        let database = mysql::connect(&servers.database_url, &ConnectOptions::default()).await;
        let database = database.expect("the database is there");
        Some(Self {
            nodes: [Some(one), Some(two)],
            sale,
            store: database.store(),
            database,
            gateway_url,
            acknowledged: Vec::new(),
            repeats: Check::default(),
            _gateway: gateway,
            _folder: folder,
        })
    }

    fn shop(&self, node: usize) -> Shop {
        let server = self.nodes[node].as_ref().expect("it lives");
        Shop::at(server, &self.sale)
    }

    /// A crowd of so many comes to each node, and is in the middle of buying.
    pub async fn crowds_come(&self, buyers: usize) -> Crowds {
        let (go_away, stop) = watch::channel(false);
        let mut at_work = JoinSet::new();
        for node in 0..2 {
            let progress = Arc::new(Progress::default());
            let settings = self.shop(node).crowd(buyers, seed());
            let (seen, stop) = (Arc::clone(&progress), stop.clone());
            at_work.spawn(async move {
                let report = driver::run(&settings, &seen, &stop).await;
                report.expect("the driver starts")
            });
            eventually("the crowd to be at it", || async {
                (progress.snapshot().completed >= 10).then_some(())
            })
            .await;
        }
        Crowds { at_work, go_away }
    }

    /// Everyone has got an outcome in the end. Whose first try was lost with its node, and cleared away before it was repeated, takes a
    /// new key; under that one a coupon may be taken: by another try, until the reconciler finds it.
    pub async fn leave_content(&mut self, crowds: Crowds) {
        let expected = ["completed", "payment_declined", "coupon_already_used"];
        for report in self.reports(crowds).await {
            let outcomes: Vec<&String> = report.purchases.keys().collect();
            let as_expected = |outcome: &&String| expected.contains(&outcome.as_str());
            assert!(outcomes.iter().all(as_expected), "{outcomes:?}");
        }
    }

    /// One node is gone for good, and with it those who stood there: they go as they are.
    pub async fn leave(&mut self, crowds: Crowds) {
        crowds.go_away.send_replace(true);
        self.reports(crowds).await;
    }

    async fn reports(&mut self, mut crowds: Crowds) -> Vec<Report> {
        let mut reports = Vec::new();
        while let Some(report) = crowds.at_work.join_next().await {
            let report = report.expect("no panic");
            println!(
                "{:?}, {} acknowledged, {} answers 503 or none",
                report.purchases,
                report.acknowledged.len(),
                report.unavailable
            );
            assert_eq!(report.errors, Vec::<String>::new());
            assert_eq!(report.repeats.violations, Vec::<String>::new());
            self.acknowledged.extend(report.acknowledged.clone());
            self.repeats.merge(report.repeats.clone());
            reports.push(report);
        }
        reports
    }

    /// Sends a signal to one.
    pub async fn signal(&self, node: usize, signal: &str) {
        let server = self.nodes[node].as_ref().expect("it lives");
        server.process.signal(signal).await;
    }

    /// How many batches of this node were refused because it no longer had the partition.
    pub async fn fenced(&self, node: usize) -> u64 {
        let shop = self.shop(node);
        shop.look("counters").await["fenced"]
            .as_u64()
            .expect("a number")
    }

    async fn partitions(&self) -> Vec<PartitionRow> {
        let mut rows = self.store.partitions().await.expect("they can be read");
        rows.retain(|row| !row.retired);
        rows
    }

    /// The partitions that this node holds.
    pub async fn held_by(&self, node: usize) -> Vec<PartitionId> {
        let name = NodeName(NAMES[node].into());
        let rows = self.partitions().await.into_iter();
        let held = rows.filter(|row| row.owner == name && row.lease_left_us > 0);
        held.map(|row| row.id).collect()
    }

    /// Whether this node has all of these, or has retired them already.
    pub async fn are_held_by(&self, partitions: &[PartitionId], node: usize) -> bool {
        let name = NodeName(NAMES[node].into());
        let rows = self.partitions().await;
        let mut rows = rows.iter().filter(|row| partitions.contains(&row.id));
        rows.all(|row| row.owner == name && row.lease_left_us > 0)
    }

    /// Waits until the node has all of these.
    pub async fn until_taken_over(&self, partitions: &[PartitionId], node: usize) {
        assert!(!partitions.is_empty(), "there is something to take over");
        eventually("the other node to have its partitions", || async {
            self.are_held_by(partitions, node).await.then_some(())
        })
        .await;
    }

    /// Waits until the node has partitions, having noticed that it had lost those that it had.
    pub async fn until_it_holds_partitions(&self, node: usize) {
        eventually("the node to hold partitions again", || async {
            (self.held_by(node).await.len() >= PARTITIONS).then_some(())
        })
        .await;
    }

    /// The workflows that are open in these partitions, but for the openings of sales, which wait until those close.
    pub async fn open_in(&self, partitions: &[PartitionId]) -> Vec<Ident> {
        let mut open = Vec::new();
        for partition in partitions {
            let rows = self.store.open_workflows(*partition, None, 500).await;
            let rows = rows.expect("they can be read").into_iter();
            let rows = rows.filter(|row| row.cursor.definition != OPENING);
            open.extend(rows.map(|row| row.ident));
        }
        open
    }

    /// Whether a sale's opening waits in this partition, which is kept for it.
    async fn has_an_opening(&self, partition: PartitionId) -> bool {
        let rows = self.store.open_workflows(partition, None, 500).await;
        let rows = rows.expect("they can be read");
        rows.iter().any(|row| row.cursor.definition == OPENING)
    }

    /// Waits until these have ended.
    pub async fn until_settled(&self, workflows: &[Ident]) {
        eventually("them to be settled", || async {
            for ident in workflows {
                let head = self.store.find(ident).await.expect("it can be read");
                // The opening of a sale that has not closed waits for that.
                let has_ended =
                    |head: &Head| head.status.is_terminal() || head.definition.name == OPENING;
                if !head.as_ref().is_some_and(has_ended) {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Whoever lives has nothing left to do, and everything is right: the invariants, the journal row by row, the gateway's
    /// ledger, and every start that was acknowledged.
    pub async fn ends_well(&self) {
        let living: Vec<usize> = (0..2).filter(|node| self.nodes[*node].is_some()).collect();
        for node in &living {
            self.shop(*node).quiet().await;
        }
        self.nothing_is_left_of_take_overs(&living).await;
        let shop = self.shop(living[0]);
        self.invariants_hold(&shop).await;
        self.journal_is_whole().await;
        self.nothing_was_paid_twice(&shop).await;
        assert!(self.repeats.checked > 0, "nobody repeated anything");
        for node in living {
            let buyers = self.shop(node).buyers;
            let check = driver::check_acknowledged(&buyers, &self.acknowledged, PATIENCE).await;
            let check = check.expect("the driver starts");
            assert_eq!(check.violations, Vec::<String>::new());
            println!(
                "{} acknowledged purchases, {} questions about them to {}",
                self.acknowledged.len(),
                check.checked,
                NAMES[node]
            );
        }
    }

    /// Each has as many partitions as it is to have: what was taken over is empty and retired, unless an opening waits in it.
    async fn nothing_is_left_of_take_overs(&self, living: &[usize]) {
        eventually("what was taken over to be retired", || async {
            let mut needed = 0;
            let rows = self.partitions().await;
            for row in &rows {
                let is_held = living.iter().any(|node| row.owner.0 == NAMES[*node]);
                if !is_held || row.lease_left_us <= 0 {
                    return None;
                }
                needed += usize::from(!self.has_an_opening(row.id).await);
            }
            (needed <= PARTITIONS * living.len()).then_some(())
        })
        .await;
    }

    /// The gate agrees with the database, to the unit, once the reconciler has found what was held for starts that never became
    /// durable.
    async fn the_gate_is_reconciled(&self, shop: &Shop) {
        let url = format!("{}/v1/reconcile", shop.operators);
        eventually("a round that finds nothing", || async {
            let request = shop.operators().post(&url).json(&json!({ "repair": true }));
            let answer = send(request).await;
            assert!([200, 503].contains(&answer.status), "{answer:?}");
            let report = answer.body;
            for difference in report["differences"].as_array().into_iter().flatten() {
                println!("reconciled: {difference}");
            }
            (report["clean"] == json!(true) && report["found"] == 0).then_some(())
        })
        .await;
    }

    /// Every invariant holds.
    async fn invariants_hold(&self, shop: &Shop) {
        self.the_gate_is_reconciled(shop).await;
        shop.verify().await;
    }

    /// Each workflow's records and each partition's events are numbered without a gap, and each workflow has one end.
    async fn journal_is_whole(&self) {
        let events = "SELECT COUNT(*) FROM events";
        let gaps_in_workflows = "SELECT COUNT(*) FROM (SELECT workflow_id FROM events GROUP BY workflow_id \
             HAVING COUNT(*) <> MAX(seq) OR MIN(seq) <> 1) AS gaps";
        let gaps_in_partitions = "SELECT COUNT(*) FROM (SELECT partition_id FROM events GROUP BY partition_id \
             HAVING COUNT(*) <> MAX(partition_seq) OR MIN(partition_seq) <> 1) AS gaps";
        let ended_twice = "SELECT COUNT(*) FROM (SELECT workflow_id FROM events WHERE kind IN ('completed', 'compensated') \
             GROUP BY workflow_id HAVING COUNT(*) > 1) AS ended";
        let never_ended = "SELECT COUNT(*) FROM workflows WHERE status NOT IN ('COMPLETED', 'COMPENSATED') AND definition <> 'opening'";
        println!("{} events", self.count(events).await);
        assert!(self.count(events).await > 0);
        assert_eq!(self.count(gaps_in_workflows).await, 0);
        assert_eq!(self.count(gaps_in_partitions).await, 0);
        assert_eq!(self.count(ended_twice).await, 0);
        assert_eq!(self.count(never_ended).await, 0);
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let rows = self.database.query("counting", sql, &[]).await;
        rows.expect("it can be counted")[0]
            .integer(0)
            .expect("a number")
    }

    /// In the gateway's own ledger no order has more than one capture or more than one refund.
    async fn nothing_was_paid_twice(&self, shop: &Shop) {
        let mut effects: BTreeMap<(String, String), u32> = BTreeMap::new();
        let entries = ledger(&shop.http, &self.gateway_url).await;
        for entry in &entries {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            *effects.entry((text("order_id"), text("kind"))).or_default() += 1;
        }
        println!("{} entries of the ledger", entries.len());
        assert!(!entries.is_empty(), "nothing was paid");
        let twice: Vec<_> = effects
            .iter()
            .filter(|((_, kind), count)| kind != "declined" && **count > 1)
            .collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
