//! I8: what was acknowledged is there, under the same name.

use std::collections::HashMap;

use engine::WorkflowId;
use engine::ids::StartKey;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{Inputs, InvariantReport, VerifyError};

/// Look-ups at a time.
const LOOK_UPS_MAX: usize = 16;

/// I8. Looks at each acknowledged start.
pub async fn found_again(inputs: &Inputs<'_>) -> Result<InvariantReport, VerifyError> {
    let title =
        "starts: every acknowledged start is found, and its key always gives the same workflow";
    let mut report = InvariantReport::new("I8", title);
    let mut by_key: HashMap<&StartKey, WorkflowId> = HashMap::new();
    for start in inputs.acknowledged {
        report.checked += 1;
        let Some(key) = &start.key else { continue };
        let first = *by_key.entry(key).or_insert(start.workflow);
        if first != start.workflow {
            report.violated(format!(
                "key {}: acknowledged as {first} and as {}",
                key.key, start.workflow
            ));
        }
        if key.ident() != start.workflow.ident() {
            report.violated(format!(
                "key {}: {} is not its workflow",
                key.key, start.workflow
            ));
        }
    }
    let mut lost: Vec<WorkflowId> = stream::iter(inputs.acknowledged)
        .map(|start| async {
            let found = inputs.store.find(&start.workflow.ident()).await?;
            let same = found.is_some_and(|head| head.id == start.workflow);
            Ok::<_, VerifyError>((!same).then_some(start.workflow))
        })
        .buffer_unordered(LOOK_UPS_MAX)
        .try_filter_map(|lost| async move { Ok(lost) })
        .try_collect()
        .await?;
    lost.sort();
    lost.dedup();
    for workflow in lost {
        report.violated(format!("{workflow}: acknowledged and not found"));
    }
    Ok(report.finished())
}
