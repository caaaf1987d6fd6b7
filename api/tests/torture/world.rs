//! Two nodes over the same servers beside one payment gateway: one that is armed, life after life, and one that stays.

use std::time::Duration;

use crate::support::gateway::gateway;
use crate::support::process::{Running, ServeSettings, Server, free_port};
use crate::support::servers::Servers;
use crate::support::shop::Shop;

/// The lease of both.
pub const LEASE: Duration = Duration::from_secs(2);

/// What a row of cells has in common.
pub struct World {
    /// How the node that is armed is started.
    pub settings: ServeSettings,
    buyers: String,
    operators: String,
    operator_token: String,
    stays: Server,
    _gateway: Running,
    _folder: tempfile::TempDir,
}

impl World {
    /// `None` where there are no servers.
    pub async fn start() -> Option<Self> {
        let servers = Servers::from_environment()?;
        let folder = tempfile::tempdir().expect("a folder");
        let (buyers_port, operators_port) = (free_port(), free_port());
        let (gateway, gateway_url) = gateway(folder.path(), buyers_port).await;
        let settings = |name: &str| {
            servers
                .serve(&folder.path().join(name))
                .with("HOLDFAST_NODE", name)
                .with("HOLDFAST_PARTITIONS", "2")
                .with("HOLDFAST_LEASE", format!("{}s", LEASE.as_secs()))
                .with("HOLDFAST_PG_TIMEOUT", "1s")
                .with("PG_URL", &gateway_url)
        };
        let stays = settings("stays").start().await;
        let settings = settings("armed").on(buyers_port, operators_port);
        Some(Self {
            operator_token: settings.operator_token("admin", "alice").await,
            settings,
            buyers: format!("http://127.0.0.1:{buyers_port}"),
            operators: format!("http://127.0.0.1:{operators_port}"),
            stays,
            _gateway: gateway,
            _folder: folder,
        })
    }

    /// The sale at the node that is armed.
    pub fn at_the_armed(&self, sale: &str) -> Shop {
        Shop::of(&self.buyers, &self.operators, &self.operator_token, sale)
    }

    /// The sale at the node that stays.
    pub fn at_the_other(&self, sale: &str) -> Shop {
        Shop::at(&self.stays, sale)
    }
}
