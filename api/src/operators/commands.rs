//! `GET /v1/commands`, `GET /v1/commands/{id}` and `GET /v1/audit`: who did what, why, and what came of it.

use axum::Json;
use axum::extract::State;
use engine::WorkflowId;
use engine::store::{CommandId, CommandRow, CommandState};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::order::carried;
use super::pages::{number_before, page_size};
use crate::clock::rfc3339;
use crate::http::{Path, Query};
use crate::problem::Problem;
use crate::wiring::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    workflow: Option<String>,
    before: Option<String>,
    limit: Option<String>,
}

#[derive(Serialize)]
pub struct Listed {
    commands: Vec<Shown>,
    /// The `before` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_before: Option<u64>,
}

impl Listed {
    /// A page of these rows, which were read with this limit.
    pub fn page(rows: Vec<CommandRow>, limit: u16) -> Self {
        let is_full = rows.len() >= usize::from(limit);
        let next_before = rows.last().filter(|_| is_full).map(|row| row.id.0);
        Self {
            commands: rows.into_iter().map(Shown::from).collect(),
            next_before,
        }
    }
}

/// One command.
#[derive(Serialize)]
pub struct Shown {
    id: u64,
    workflow: String,
    verb: &'static str,
    #[serde(skip_serializing_if = "Value::is_null")]
    with: Value,
    actor: String,
    reason: String,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<u64>,
    accepted_at: String,
    state: &'static str,
    /// The number of the workflow's event that carried it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_because: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at: Option<String>,
}

impl From<CommandRow> for Shown {
    fn from(row: CommandRow) -> Self {
        let command = row.command;
        let (state, event, refused_because) = match row.state {
            CommandState::Pending => ("PENDING", None, None),
            CommandState::Done { seq } => ("DONE", Some(seq), None),
            CommandState::Refused { why } => ("REFUSED", None, Some(why)),
        };
        Self {
            id: row.id.0,
            workflow: command.workflow.to_string(),
            verb: command.verb.name(),
            with: carried(&command.verb),
            actor: command.by.actor,
            reason: command.by.reason,
            key: command.key,
            expected_version: command.expected_seq,
            batch: command.batch,
            accepted_at: rfc3339(command.accepted_at),
            state,
            event,
            refused_because,
            answered_at: row.answered_at.map(rfc3339),
        }
    }
}

pub async fn list(
    State(services): State<Shared>,
    Query(asked): Query<Asked>,
) -> Result<Json<Listed>, Problem> {
    let workflow = match asked.workflow.as_deref() {
        Some(text) => Some(
            WorkflowId::parse(text)
                .ok_or_else(|| Problem::parameter("workflow", "must be a workflow's id"))?,
        ),
        None => None,
    };
    let before = number_before(asked.before.as_deref())?.map(CommandId);
    let limit = page_size(asked.limit.as_deref())?;
    let rows = services
        .engine
        .commands(workflow, before, limit.into())
        .await?;
    Ok(Json(Listed::page(rows, limit)))
}

pub async fn show(State(services): State<Shared>, Path(id): Path) -> Result<Json<Shown>, Problem> {
    let not_found = || Problem::not_found("command", &id);
    let number: u64 = id.parse().map_err(|_| not_found())?;
    let row = services.store.command(CommandId(number)).await?;
    Ok(Json(row.ok_or_else(not_found)?.into()))
}
