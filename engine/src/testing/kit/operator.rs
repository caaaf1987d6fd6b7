//! How the kit looks at a workflow and tells it something.

use std::time::Duration;

use super::stage::Stuck;
use crate::command::{Command, Verb};
use crate::engine::{Engine, View};
use crate::ids::WorkflowId;
use crate::store::CommandState;
use crate::workflow::By;

/// How long an answer to a command may take.
const ANSWERED_WITHIN: Duration = Duration::from_hours(1);

/// The workflow as it durably is.
pub(super) async fn view(engine: &Engine, id: WorkflowId) -> Result<View, Stuck> {
    match engine.view(id).await {
        Ok(Some(view)) => Ok(view),
        Ok(None) => Err("it is not in the store any more".to_owned()),
        Err(error) => Err(format!("it can't be read: {error}")),
    }
}

/// Gives a command. A signal that comes too late is nobody's fault.
pub(super) async fn tell(
    engine: &Engine,
    id: WorkflowId,
    verb: Verb,
    key: &str,
) -> Result<(), Stuck> {
    let name = verb.name();
    let is_signal = matches!(verb, Verb::Signal(_));
    let command = Command {
        workflow: id,
        verb,
        by: By {
            actor: "kit".into(),
            reason: "the case has it so".into(),
        },
        expected_seq: None,
        key: key.to_owned(),
    };
    let deadline = engine.runtime().now().after(ANSWERED_WITHIN);
    match engine.command(command, deadline).await {
        Ok(commanded) => match commanded.state {
            CommandState::Done { .. } => Ok(()),
            CommandState::Refused { .. } if is_signal => Ok(()),
            CommandState::Refused { why } => Err(format!("`{name}` was refused: {why}")),
            CommandState::Pending => Err(format!("`{name}` was not answered")),
        },
        Err(_) if is_signal => Ok(()),
        Err(error) => Err(format!("`{name}` was not accepted: {error}")),
    }
}
