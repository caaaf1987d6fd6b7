//! A node beside a gateway whose rules can be set, and the crowds that meet them.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use loadtest::driver::{Manners, Progress, Report, Settings, Visit};
use serde_json::{Value, json};

use super::rules::{End, Plan, Shown};
use crate::drop::crowd::BUYERS_PATIENCE;
use crate::support::gateway::{self, gateway};
use crate::support::process::{Running, ServeSettings, Server, free_port};
use crate::support::servers::{Servers, WEBHOOK_SECRET};
use crate::support::shop::{self, Shop, visit};
use crate::support::{counted, unique};

/// So long the time-outs hold an answer back, and so long the client waits for one.
pub const HOLD_MS: u64 = 1_200;
const CLIENT_TIMEOUT: &str = "600ms";
/// How late a late webhook is.
pub const WEBHOOK_LATE_MS: u64 = 200;
/// Longer than it takes to ask about a payment that was just made, on a busy machine too.
const INQUIRY_LAG_MS: u64 = 4_000;
/// Who is told nothing because a webhook was lost does not wait for longer.
const HOLD_SECONDS: u32 = 30;
/// Buyers at once for each purchase that a rule has: most of them wait for a gateway that says something wrong again and again.
const BUYERS_A_PURCHASE: usize = 24;
const BUYERS_AT_ONCE_MIN: usize = 48;
const BUYERS_AT_ONCE_MAX: usize = 512;

/// What the node runs on.
#[derive(Clone, Copy, Debug)]
pub enum Stack {
    /// Nothing but its own files.
    Embedded,
    /// MySQL, Redis and Kafka.
    Servers,
}

impl Stack {
    /// Whether it can be run on here. With `CI=true` it must be.
    pub fn is_there(self) -> bool {
        match self {
            Self::Embedded => true,
            Self::Servers => Servers::from_environment().is_some(),
        }
    }

    fn settings(self, data_dir: &Path) -> ServeSettings {
        match self {
            Self::Embedded => {
                ServeSettings::embedded(data_dir).with("HOLDFAST_WEBHOOK_SECRET", WEBHOOK_SECRET)
            }
            Self::Servers => {
                let servers = Servers::from_environment().expect("they were there");
                servers.serve(data_dir)
            }
        }
    }
}

/// A node, and its gateway.
pub struct World {
    /// The sale: mugs for all, and posters for which there are no serial numbers.
    pub shop: Shop,
    gateway_url: String,
    _gateway: Running,
    _node: Server,
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn start(stack: Stack) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let (gateway, gateway_url) = gateway(folder.path(), port).await;
        let node = stack
            .settings(&folder.path().join("data"))
            .on(port, free_port())
            .with("PG_URL", &gateway_url)
            .with("HOLDFAST_PG_TIMEOUT", CLIENT_TIMEOUT)
            .start()
            .await;
        let mut sale = shop::seed(&unique("rules"), 1_000_000, 1_000_000);
        sale["hold_seconds"] = json!(HOLD_SECONDS);
        shop::add_posters(&mut sale, 1_000_000);
        Self {
            shop: Shop::open_for(&node, &sale).await,
            gateway_url,
            _gateway: gateway,
            _node: node,
            _folder: folder,
        }
    }

    pub async fn set_rules(&self, rules: &Value) {
        gateway::set_rules(&self.shop.http, &self.gateway_url, rules).await;
    }

    /// How many orders have shown which faults.
    pub async fn shown(&self) -> Shown {
        gateway::shown(&self.shop.http, &self.gateway_url).await
    }

    /// So many buyers for each rule of the plan, half of them by either means of payment if it can act on both. As many others are in
    /// between, with whom nothing goes wrong: the gateway is odd, and not away; then everybody would wait for it.
    pub async fn crowds(&self, plan: &Plan, each: usize, seed: u64) {
        let each = each.div_ceil(2);
        let (stored, at_the_gateway) = (plan.stored(), plan.at_the_gateway());
        let in_turn: Vec<&str> = at_the_gateway
            .iter()
            .flat_map(|rule| [rule.as_str(), ""])
            .collect();
        let rules = json!({
            "in_turn": in_turn, "hold_ms": HOLD_MS, "webhook_late_ms": WEBHOOK_LATE_MS, "inquiry_lag_ms": INQUIRY_LAG_MS,
        });
        self.set_rules(&rules).await;
        let by_token = Manners {
            faulty: 1.0,
            faulty_tokens: stored
                .iter()
                .flat_map(|rule| [format!("tok-{rule}"), "tok-card".to_owned()])
                .collect(),
            ..Manners::default()
        };
        let by_redirect = Manners {
            redirect: 1.0,
            visits: vec![Visit::Returns, Visit::ReturnsTwice, Visit::ClosesWindow],
            ..Manners::default()
        };
        let (by_token, by_redirect) = tokio::join!(
            self.crowd(plan, (stored.len(), each), by_token, seed),
            self.crowd(plan, (at_the_gateway.len(), each), by_redirect, !seed)
        );
        for report in [by_token, by_redirect] {
            println!("{:?}: {:?}", plan.end, report.purchases);
        }
    }

    async fn crowd(
        &self,
        plan: &Plan,
        (rules, each): (usize, usize),
        manners: Manners,
        seed: u64,
    ) -> Report {
        let buyers = 2 * each * rules;
        let (product, outcome) = match plan.end {
            End::Goods => ("mug", "completed"),
            End::Refund => ("poster", "refunded"),
        };
        let mut settings = self.shop.crowd(buyers, seed);
        product.clone_into(&mut settings.order.lines[0].product);
        settings.manners = manners;
        let report = self.comes(settings, each).await;
        let ends = |outcome: &str| report.purchases.get(outcome).copied().unwrap_or_default();
        // Who is met by nothing wrong is every other one.
        assert!(buyers == 0 || ends(outcome) > 0, "{:?}", report.purchases);
        report
    }

    /// These come, and each rule has so many purchases.
    pub async fn comes(&self, settings: Settings, each: usize) -> Report {
        let at_once = (BUYERS_A_PURCHASE * each).clamp(BUYERS_AT_ONCE_MIN, BUYERS_AT_ONCE_MAX);
        let settings = Settings {
            in_flight: NonZeroUsize::new(at_once).expect("not zero"),
            patience: BUYERS_PATIENCE,
            ..settings
        };
        let report = visit(settings, Arc::new(Progress::default())).await;
        assert_eq!(report.errors, Vec::<String>::new());
        counted("purchases", report.acknowledged.len() as u64);
        report
    }

    /// Nothing is under way, and every invariant holds, that of the money above all. The faults that have acted.
    pub async fn adds_up(&self) -> Shown {
        self.shop.quiet().await;
        self.shop.verify_in_the_end().await;
        let shown = self.shown().await;
        let faults = shown
            .iter()
            .map(|(faults, orders)| faults.split('+').count() as u64 * orders);
        counted("faults of the gateway", faults.sum());
        shown
    }
}

/// Everyone but those who walk away.
pub fn at_the_gateway() -> Vec<Visit> {
    let stays = |visit: &Visit| *visit != Visit::WalksAway;
    Visit::ALL.into_iter().filter(stays).collect()
}

/// The number that the environment asks for, or this.
pub fn size(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}
