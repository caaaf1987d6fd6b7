//! An operator who gives one command after the other, each under a key of its own, and waits for the answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::command::{Command, Verb};
use engine::store::CommandState;
use engine::workflow::{By, Signal};
use engine::{CommandError, Engine, Payload, View, WorkflowId};

static KEYS: AtomicU64 = AtomicU64::new(0);

pub fn command(workflow: WorkflowId, verb: Verb, actor: &str, reason: &str) -> Command {
    Command {
        workflow,
        verb,
        by: By {
            actor: actor.into(),
            reason: reason.into(),
        },
        expected_seq: None,
        key: format!("key {}", KEYS.fetch_add(1, Ordering::Relaxed)),
    }
}

pub fn signal(name: &str, id: &str, payload: &impl serde::Serialize) -> Verb {
    Verb::Signal(Signal {
        name: name.into(),
        id: id.into(),
        payload: Payload::of(payload).unwrap(),
    })
}

/// How long an operator waits for an answer.
const PATIENCE: Duration = Duration::from_mins(1);

pub trait Operator {
    /// Gives the command, and waits until it is answered: a refusal is a conflict.
    async fn tell(
        &self,
        id: WorkflowId,
        verb: Verb,
        actor: &str,
        reason: &str,
    ) -> Result<View, CommandError>;

    async fn retry(&self, id: WorkflowId, actor: &str, reason: &str) -> Result<View, CommandError> {
        self.tell(id, Verb::Retry, actor, reason).await
    }

    async fn compensate(
        &self,
        id: WorkflowId,
        actor: &str,
        reason: &str,
    ) -> Result<View, CommandError> {
        self.tell(id, Verb::Compensate, actor, reason).await
    }
}

impl Operator for Engine {
    async fn tell(
        &self,
        id: WorkflowId,
        verb: Verb,
        actor: &str,
        reason: &str,
    ) -> Result<View, CommandError> {
        let deadline = self.runtime().now().after(PATIENCE);
        let command = command(id, verb, actor, reason);
        match Engine::command(self, command, deadline).await?.state {
            CommandState::Done { .. } => self.view(id).await?.ok_or(CommandError::NotFound(id)),
            CommandState::Refused { why } => Err(CommandError::Conflict(why)),
            CommandState::Pending => Err(CommandError::Undecided),
        }
    }
}
