//! `GET /v1/nodes`: who owns which partitions, for how much longer, and how far each is behind with its events.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use engine::store::PartitionRow;
use serde::Serialize;

use crate::problem::Problem;
use crate::wiring::Shared;

#[derive(Serialize)]
pub struct Listed {
    nodes: Vec<Node>,
    /// Partitions that nobody owns any more, with nothing left to do.
    retired: Vec<Partition>,
}

#[derive(Serialize)]
struct Node {
    #[serde(rename = "node")]
    name: String,
    /// At least one of its leases runs.
    alive: bool,
    /// Events that are durable and not acknowledged by the event bus.
    backlog: u64,
    partitions: Vec<Partition>,
}

#[derive(Serialize)]
struct Partition {
    id: u32,
    /// How often it has changed hands.
    epoch: u64,
    /// How long its lease still runs by the database's clock; negative when it has run out.
    lease_left_ms: i64,
    last_event: u64,
    last_published: u64,
    backlog: u64,
}

impl From<&PartitionRow> for Partition {
    fn from(row: &PartitionRow) -> Self {
        Self {
            id: row.id.0,
            epoch: row.epoch.0,
            lease_left_ms: row.lease_left_us.div_euclid(1_000),
            last_event: row.last_seq,
            last_published: row.published_seq,
            backlog: row.last_seq.saturating_sub(row.published_seq),
        }
    }
}

pub async fn list(State(services): State<Shared>) -> Result<Json<Listed>, Problem> {
    Ok(Json(listed(&services.engine.partitions().await?)))
}

fn listed(rows: &[PartitionRow]) -> Listed {
    let mut owners: BTreeMap<&str, Vec<Partition>> = BTreeMap::new();
    let mut retired = Vec::new();
    for row in rows {
        if row.retired {
            retired.push(row.into());
        } else {
            owners.entry(&row.owner.0).or_default().push(row.into());
        }
    }
    let nodes = owners.into_iter().map(|(node, partitions)| Node {
        name: node.to_owned(),
        alive: partitions
            .iter()
            .any(|partition| partition.lease_left_ms > 0),
        backlog: partitions.iter().map(|partition| partition.backlog).sum(),
        partitions,
    });
    Listed {
        nodes: nodes.collect(),
        retired,
    }
}

#[cfg(test)]
mod tests {
    use engine::{Epoch, NodeName, PartitionId};

    use super::*;

    #[test]
    fn partitions_are_shown_with_their_owner_and_retired_ones_apart() {
        let row = |id, owner: &str, lease_left_us, retired| PartitionRow {
            id: PartitionId(id),
            owner: NodeName(owner.into()),
            epoch: Epoch(3),
            lease_left_us,
            retired,
            last_seq: 10,
            published_seq: 7,
        };
        let shown = listed(&[
            row(1, "a", 5_000_000, false),
            row(2, "b", -1, false),
            row(3, "a", 5_000_000, false),
            row(4, "b", -9_000_000, true),
        ]);
        let shown = serde_json::to_value(&shown).expect("JSON");
        assert_eq!(shown["nodes"][0]["node"], "a");
        assert_eq!(shown["nodes"][0]["backlog"], 6);
        assert_eq!(shown["nodes"][0]["partitions"][1]["lease_left_ms"], 5_000);
        assert_eq!(shown["nodes"][1]["alive"], false);
        assert_eq!(shown["nodes"][1]["partitions"][0]["lease_left_ms"], -1);
        assert_eq!(shown["retired"][0]["id"], 4);
    }
}
