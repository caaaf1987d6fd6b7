//! What a node runs on: the embedded stack, or real servers with as many nodes as a claim wants.

use tempfile::TempDir;

use crate::support::process::ServeSettings;
use crate::support::servers::{Servers, WEBHOOK_SECRET};

/// A place for the nodes of one test.
pub struct Stack {
    /// Where the nodes keep things.
    pub folder: TempDir,
    /// `None` on the embedded stack.
    pub servers: Option<Servers>,
}

impl Stack {
    /// `SQLite` and everything else in the process.
    pub fn embedded() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            servers: None,
        }
    }

    /// MySQL, Redis and Kafka; `None` where there are none.
    pub fn real() -> Option<Self> {
        let servers = Some(Servers::from_environment()?);
        let folder = tempfile::tempdir().expect("a folder");
        Some(Self { folder, servers })
    }

    /// Another place of the same kind.
    pub fn another(&self) -> Self {
        match self.servers {
            None => Self::embedded(),
            Some(_) => Self::real().expect("they were there"),
        }
    }

    /// A node of this name. There is only one on the embedded stack.
    pub fn node(&self, name: &str) -> ServeSettings {
        let data_dir = self.folder.path().join(name);
        let settings = match &self.servers {
            None => ServeSettings::embedded(&data_dir),
            Some(servers) => servers.serve(&data_dir).with("HOLDFAST_NODE", name),
        };
        // A dead node's partitions are others' so long after it.
        settings
            .with("HOLDFAST_LEASE", "3s")
            .with("HOLDFAST_WEBHOOK_SECRET", WEBHOOK_SECRET)
    }

    /// The names of the nodes where a claim wants as many as there can be.
    pub fn nodes(&self) -> &'static [&'static str] {
        match self.servers {
            None => &["one"],
            Some(_) => &["one", "two"],
        }
    }
}

/// Makes two tests of each claim: on the embedded stack, and on real servers.
macro_rules! on_both_stacks {
    ($($claim:ident),+ $(,)?) => {
        mod on_the_embedded_stack {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim($crate::faults::stack::Stack::embedded()).await;
            })+
        }
        mod on_real_servers {
            $(#[tokio::test]
            async fn $claim() {
                let Some(stack) = $crate::faults::stack::Stack::real() else { return };
                super::$claim(stack).await;
            })+
        }
    };
}
pub(crate) use on_both_stacks;
