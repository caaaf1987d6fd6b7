//! `/v1/batches`: one order to many workflows, at a bounded pace, with a preview before, progress while it runs, and a result
//! for each workflow.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use engine::batch::{BatchPreview, BatchRequest, PER_SECOND_MAX};
use engine::store::{BatchProgress, BatchRow, BatchState, CommandId};
use engine::{CommandError, WorkflowId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ORDER_BYTES_MAX;
use super::commands;
use super::filter::{Filter, in_body};
use super::headers::Conditions;
use super::operate::flag;
use super::order::{Order, carried};
use super::pages::{number_before, page_size};
use super::preview;
use super::shown::Summary;
use crate::auth::Operator;
use crate::clock::rfc3339;
use crate::http::{self, Path, Query};
use crate::problem::{Kind, Problem};
use crate::wiring::{Services, Shared};

/// Slow enough that the other side is not hit by a herd.
const PER_SECOND_DEFAULT: u32 = 50;
/// Workflows that a preview shows.
const SAMPLE: u16 = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct How {
    dry_run: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pages {
    before: Option<String>,
    limit: Option<String>,
}

#[derive(Serialize)]
pub struct Listed {
    batches: Vec<Shown>,
    /// The `before` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_before: Option<u64>,
}

/// One batch.
#[derive(Serialize)]
pub struct Shown {
    id: u64,
    state: BatchState,
    verb: &'static str,
    #[serde(skip_serializing_if = "Value::is_null")]
    with: Value,
    filter: Filter,
    actor: String,
    reason: String,
    key: String,
    per_second: u32,
    created_at: String,
    /// Workflows that were told so far.
    submitted: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
}

/// What became of those that were told.
#[derive(Serialize)]
struct Progress {
    pending: u64,
    done: u64,
    refused: u64,
}

impl Shown {
    fn of(row: BatchRow, progress: Option<BatchProgress>) -> Self {
        let batch = row.batch;
        Self {
            id: row.id,
            state: row.state,
            verb: batch.verb.name(),
            with: carried(&batch.verb),
            filter: Filter::from(&batch.filter),
            actor: batch.by.actor,
            reason: batch.by.reason,
            key: batch.key,
            per_second: batch.per_second,
            created_at: rfc3339(batch.created_at),
            submitted: row.submitted,
            progress: progress.map(|progress| Progress {
                pending: progress.pending,
                done: progress.done,
                refused: progress.refused,
            }),
        }
    }
}

/// What a batch would come to.
#[derive(Serialize)]
struct Previewed {
    /// Workflows that would be told.
    count: u64,
    /// There are more than were counted.
    more: bool,
    /// The first of them.
    sample: Vec<Sampled>,
}

#[derive(Serialize)]
struct Sampled {
    workflow: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<preview::Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_be_refused_because: Option<String>,
}

impl Previewed {
    fn of(preview: BatchPreview) -> Result<Self, Problem> {
        let sample = preview.sample.into_iter().map(|(head, would)| {
            let id: WorkflowId = head.id;
            let (would, why) = match would {
                Ok(preview) => (Some(preview::Shown::of(id, preview)?), None),
                Err(CommandError::Store(error)) => return Err(error.into()),
                Err(why) => (None, Some(why.to_string())),
            };
            Ok(Sampled {
                workflow: head.into(),
                would,
                would_be_refused_because: why,
            })
        });
        Ok(Self {
            count: preview.count,
            more: preview.more,
            sample: sample.collect::<Result<_, Problem>>()?,
        })
    }
}

pub async fn start(
    operator: Operator,
    State(services): State<Shared>,
    Query(how): Query<How>,
    conditions: Conditions,
    http::Json(order): http::Json<Order, ORDER_BYTES_MAX>,
) -> Result<Response, Problem> {
    let dry_run = flag("dry_run", how.dry_run.as_deref())?;
    if conditions.version.is_some() {
        let why = "a batch is for whatever passes its filter when it comes by: leave If-Match out";
        return Err(Problem::new(Kind::INVALID_HEADER, why).with_field("If-Match"));
    }
    let (part, verb, by) = order.for_many(operator)?;
    let key = match conditions.key {
        None if dry_run => "dry-run".to_owned(),
        _ => conditions.key()?,
    };
    let request = BatchRequest {
        key,
        filter: part.filter.checked(in_body)?,
        verb,
        by,
        per_second: pace(part.per_second)?,
    };
    if dry_run {
        let preview = services.engine.preview_batch(&request, SAMPLE).await?;
        return Ok(Json(Previewed::of(preview)?).into_response());
    }
    let (row, is_new) = services.engine.start_batch(request).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let location = format!("/v1/batches/{}", row.id);
    let shown = with_progress(&services, row.id).await?;
    Ok((status, [(LOCATION, location)], Json(shown)).into_response())
}

fn pace(per_second: Option<u32>) -> Result<u32, Problem> {
    match per_second.unwrap_or(PER_SECOND_DEFAULT) {
        pace if (1..=PER_SECOND_MAX).contains(&pace) => Ok(pace),
        _ => Err(Problem::invalid(
            "per_second",
            format!("must be a whole number from 1 to {PER_SECOND_MAX}"),
        )),
    }
}

pub async fn list(
    State(services): State<Shared>,
    Query(pages): Query<Pages>,
) -> Result<Json<Listed>, Problem> {
    let before = number_before(pages.before.as_deref())?;
    let limit = page_size(pages.limit.as_deref())?;
    let rows = services.engine.batches(before, limit.into()).await?;
    let is_full = rows.len() >= usize::from(limit);
    let next_before = rows.last().filter(|_| is_full).map(|row| row.id);
    Ok(Json(Listed {
        batches: rows.into_iter().map(|row| Shown::of(row, None)).collect(),
        next_before,
    }))
}

pub async fn show(State(services): State<Shared>, Path(id): Path) -> Result<Json<Shown>, Problem> {
    with_progress(&services, number(&id)?).await.map(Json)
}

pub async fn commands(
    State(services): State<Shared>,
    Path(id): Path,
    Query(pages): Query<Pages>,
) -> Result<Json<commands::Listed>, Problem> {
    let id = number(&id)?;
    let before = number_before(pages.before.as_deref())?.map(CommandId);
    let limit = page_size(pages.limit.as_deref())?;
    let rows = services
        .engine
        .batch_commands(id, before, limit.into())
        .await?;
    if rows.is_empty() {
        // Nothing submitted yet is something else than no batch.
        with_progress(&services, id).await?;
    }
    Ok(Json(commands::Listed::page(rows, limit)))
}

/// Stops it; one that has ended already stays as it is, and is shown.
pub async fn stop(State(services): State<Shared>, Path(id): Path) -> Result<Json<Shown>, Problem> {
    let id = number(&id)?;
    services.engine.stop_batch(id).await?;
    with_progress(&services, id).await.map(Json)
}

fn number(text: &str) -> Result<u64, Problem> {
    let number = text.parse().ok();
    number.ok_or_else(|| Problem::not_found("batch", text))
}

async fn with_progress(services: &Services, id: u64) -> Result<Shown, Problem> {
    match services.engine.batch(id).await? {
        Some((row, progress)) => Ok(Shown::of(row, Some(progress))),
        None => Err(Problem::not_found("batch", &id.to_string())),
    }
}
