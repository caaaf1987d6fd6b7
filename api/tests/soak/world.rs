//! Three nodes with a front door, each with a link of its own to one MySQL, on one Redis and Kafka beside one payment gateway; all of it
//! this test's own, to be broken.

use std::sync::Arc;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use super::door::Door;
use super::link::Link;
use super::node::{LEASE, Node};
use super::pace::Dice;
use super::tally::Tally;
use crate::support::gateway::{gateway_at, set_rules};
use crate::support::http::{client, try_send};
use crate::support::process::{Running, free_port};
use crate::support::servers::{OwnServer, OwnServers};
use crate::support::shop::Shop;
use crate::support::{PATIENCE, unique};

const NAMES: [&str; 3] = ["one", "two", "three"];
/// How long a node waits for the gateway.
const GATEWAY_TIMEOUT: &str = "1s";

/// A node's place: it is always the same, whoever lives there.
pub struct Place {
    /// Where buyers are served.
    pub buyers: String,
    /// Where operators are served.
    pub operators: String,
    /// What is between the node and MySQL.
    pub link: Link,
    /// The node; who has it is the only one who kills or stops it.
    pub node: Arc<Mutex<Node>>,
}

/// All of it.
pub struct World {
    /// The nodes.
    pub places: Vec<Place>,
    /// For buyers who take whichever node there is.
    pub door: Door,
    pub mysql: Mutex<OwnServer>,
    pub redis: Mutex<OwnServer>,
    pub kafka: Mutex<OwnServer>,
    pub gateway: Mutex<Gateway>,
    /// What has happened.
    pub tally: Tally,
    operator_token: String,
    _folder: tempfile::TempDir,
}

impl World {
    /// `None` where there is nothing to start servers with.
    pub async fn start() -> Option<Self> {
        let servers = OwnServers::start().await?;
        let folder = tempfile::tempdir().expect("a folder");
        let ports = NAMES.map(|_| (free_port(), free_port()));
        let door = Door::to(ports.iter().map(|(buyers, _)| *buyers).collect()).await;
        let gateway = Gateway::start(folder.path().to_owned(), door.port()).await;
        let mut places = Vec::new();
        let mut operator_token = String::new();
        for (name, (buyers, operators)) in NAMES.into_iter().zip(ports) {
            let link = Link::to(servers.mysql.address()).await;
            let settings = servers
                .serve(&folder.path().join(name))
                .on(buyers, operators)
                .with(
                    "DATABASE_URL",
                    format!("mysql://root@{}/holdfast", link.address()),
                )
                .with("HOLDFAST_NODE", unique(name))
                .with("HOLDFAST_PARTITIONS", "2")
                .with("HOLDFAST_LEASE", format!("{}s", LEASE.as_secs()))
                .with("HOLDFAST_PG_TIMEOUT", GATEWAY_TIMEOUT)
                .with("PG_URL", gateway.url());
            let node = Node::start(settings, operators).await;
            node.operator_token().clone_into(&mut operator_token);
            places.push(Place {
                buyers: format!("http://127.0.0.1:{buyers}"),
                operators: node.operators().to_owned(),
                link,
                node: Arc::new(Mutex::new(node)),
            });
        }
        let OwnServers {
            mysql,
            redis,
            kafka,
        } = servers;
        Some(Self {
            places,
            door,
            mysql: Mutex::new(mysql),
            redis: Mutex::new(redis),
            kafka: Mutex::new(kafka),
            gateway: Mutex::new(gateway),
            tally: Tally::default(),
            operator_token,
            _folder: folder,
        })
    }

    /// A place, chosen by the dice.
    pub fn any_place(&self, dice: &Dice) -> &Place {
        &self.places[dice.below(self.places.len())]
    }

    /// A node that nobody else has in hand, the first from one that the dice choose; `None` when each is in somebody's.
    pub fn free_node(&self, dice: &Dice) -> Option<(&Place, OwnedMutexGuard<Node>)> {
        let first = dice.below(self.places.len());
        let (before, from) = self.places.split_at(first);
        from.iter().chain(before).find_map(|place| {
            let node = Arc::clone(&place.node).try_lock_owned().ok()?;
            Some((place, node))
        })
    }

    /// A sale, for buyers who come through the front door and operators at this place.
    pub fn shop(&self, place: &Place, sale: &str) -> Shop {
        Shop::of(
            &self.door.url(),
            &place.operators,
            &self.operator_token,
            sale,
        )
    }

    /// Prints what was counted and what the nodes said lately: something went wrong.
    pub async fn tells(&self) {
        for line in self.tally.lines() {
            println!("{line}");
        }
        for place in &self.places {
            // Whoever had it in hand is stopped, and lets go.
            let node = timeout(PATIENCE, place.node.lock()).await;
            let said = node.map(|node| node.said()).unwrap_or_default();
            println!("--- the node of {}\n{said}", place.buyers);
        }
    }

    /// How many answers to a COMMIT were cut.
    pub fn commits_cut(&self) -> u64 {
        self.places.iter().map(|place| place.link.cut()).sum()
    }
}

/// The payment gateway: its ledger stays when it dies.
pub struct Gateway {
    folder: std::path::PathBuf,
    address: String,
    door_port: u16,
    process: Option<Running>,
    http: Client,
}

impl Gateway {
    async fn start(folder: std::path::PathBuf, door_port: u16) -> Self {
        let mut gateway = Self {
            folder,
            address: format!("127.0.0.1:{}", free_port()),
            door_port,
            process: None,
            http: client(),
        };
        gateway.start_again().await;
        gateway
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        self.process.take().expect("it lives").kill().await;
    }

    /// On the same ledger, at the same address.
    pub async fn start_again(&mut self) {
        let (process, _url) = gateway_at(&self.folder, &self.address, self.door_port).await;
        self.process = Some(process);
        self.behaves().await;
    }

    /// Does nothing wrong that its buyers' tokens do not ask for.
    pub async fn behaves(&self) {
        self.goes_by(json!({})).await;
    }

    /// Goes by these rules. What holds an answer back holds it for longer than a node waits.
    pub async fn goes_by(&self, mut rules: Value) {
        rules["hold_ms"] = json!(1_500);
        rules["webhook_late_ms"] = json!(200);
        set_rules(&self.http, &self.url(), &rules).await;
    }

    /// How many charges it has decided about.
    pub async fn charges(&self) -> u64 {
        let url = format!("{}/v1/ledger/summary", self.url());
        let answer = try_send(self.http.get(url))
            .await
            .expect("the gateway is there");
        let count = |name: &str| answer.body[name].as_u64().expect("a count");
        count("captures") + count("declines")
    }
}
