//! `GET /v1/workflows/{id}/events`: a workflow's journal, page by page.

use axum::Json;
use axum::extract::State;
use engine::workflow::{Direction, End, Intent, Record};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pages::page_size;
use super::shown::{without_secrets, workflow_id};
use crate::clock::rfc3339;
use crate::http::{Path, Query};
use crate::problem::Problem;
use crate::wiring::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    after: Option<String>,
    limit: Option<String>,
}

#[derive(Serialize)]
pub struct Journal {
    events: Vec<Entry>,
    /// The `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<u32>,
}

#[derive(Serialize)]
pub struct Entry {
    seq: u32,
    at: String,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Value::is_null")]
    data: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    starts: Vec<Start>,
    /// With this event the workflow ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<End>,
}

/// An attempt or a wait that may begin.
#[derive(Serialize)]
struct Start {
    step: String,
    direction: Direction,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl Entry {
    /// The record as operators see it.
    pub fn of(record: Record) -> Result<Self, Problem> {
        let text = serde_json::to_string(&record.event)
            .map_err(|error| Problem::internal("showing an event", &error))?;
        let start = |intent: Intent| Start {
            step: intent.step,
            direction: intent.direction,
            attempt: intent.attempt,
            until: intent.until.map(rfc3339),
        };
        Ok(Self {
            seq: record.seq,
            at: rfc3339(record.at),
            r#type: record.event.kind(),
            data: without_secrets(&text)["data"].take(),
            starts: record.starts.into_iter().map(start).collect(),
            ends: record.ends,
        })
    }
}

pub async fn list(
    State(services): State<Shared>,
    Path(id): Path,
    Query(range): Query<Range>,
) -> Result<Json<Journal>, Problem> {
    let id = workflow_id(&id)?;
    let after = match range.after.as_deref() {
        Some(text) => text
            .parse()
            .map_err(|_| Problem::parameter("after", "must be the number of an event"))?,
        None => 0,
    };
    let limit = page_size(range.limit.as_deref())?;
    let records = services.engine.records(id, after, limit.into()).await?;
    if records.is_empty() && services.engine.view(id).await?.is_none() {
        return Err(Problem::not_found("workflow", &id.to_string()));
    }
    let full = records.len() == usize::from(limit);
    let next_after = records.last().filter(|_| full).map(|record| record.seq);
    let events = records
        .into_iter()
        .map(Entry::of)
        .collect::<Result<_, Problem>>()?;
    Ok(Json(Journal { events, next_after }))
}
