//! `POST /v1/workflows/{id}/{retry|compensate|resolve|skip|pause|resume|abandon|signal}`: one order to one workflow. It is
//! durable before it is carried out, whichever node owns the workflow, and carried out once however often it is sent.

use std::pin::pin;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use engine::command::{Command, Verb};
use engine::store::CommandState;
use engine::{CommandError, Commanded, WorkflowId};
use serde::Deserialize;

use super::ORDER_BYTES_MAX;
use super::commands::Shown;
use super::headers::{Conditions, SIGNAL};
use super::order::{Order, VerbName, fields_of};
use super::preview;
use super::shown::workflow_id;
use super::workflow::answer;
use crate::auth::Operator;
use crate::config::parse_duration;
use crate::http::{self, Path, Query, stopped};
use crate::problem::{Kind, Problem};
use crate::wiring::{Services, Shared};

const WAIT_DEFAULT: Duration = Duration::from_secs(5);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// A command that is not durable after this long is [`Kind::UNDECIDED`].
const ACCEPTED_WITHIN: Duration = Duration::from_secs(10);
/// After the wait: how often is looked whether the command is durable at least.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct How {
    dry_run: Option<String>,
    wait: Option<String>,
}

impl How {
    fn dry_run(&self) -> Result<bool, Problem> {
        flag("dry_run", self.dry_run.as_deref())
    }

    fn wait(&self) -> Result<Duration, Problem> {
        let Some(text) = &self.wait else {
            return Ok(WAIT_DEFAULT);
        };
        let wait = parse_duration(text).map_err(|reason| Problem::parameter("wait", reason))?;
        if wait > WAIT_MAX {
            let reason = format!("must be at most {}s", WAIT_MAX.as_secs());
            return Err(Problem::parameter("wait", reason));
        }
        Ok(wait)
    }
}

/// A parameter that is `true` or `false`, or left out.
pub fn flag(name: &str, text: Option<&str>) -> Result<bool, Problem> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Problem::parameter(name, "must be true or false")),
    }
}

pub async fn carry_out(
    name: VerbName,
    operator: Operator,
    State(services): State<Shared>,
    Path(id): Path,
    Query(how): Query<How>,
    conditions: Conditions,
    http::Json(order): http::Json<Order, ORDER_BYTES_MAX>,
) -> Result<Response, Problem> {
    let workflow = workflow_id(&id)?;
    let (dry_run, wait) = (how.dry_run()?, how.wait()?);
    let (verb, by) = order.for_one(name, operator)?;
    let expected_seq = conditions.version;
    let key = match &verb {
        Verb::Signal(signal) => format!("{SIGNAL}{}", signal.id),
        _ if dry_run => "dry-run".to_owned(),
        _ => conditions.key()?,
    };
    let command = Command {
        workflow,
        verb,
        by,
        expected_seq,
        key,
    };
    if dry_run {
        let preview = services.engine.preview(&command).await;
        let preview = match preview {
            Ok(preview) => preview,
            Err(error) => return Err(refused(&services, &command, error).await),
        };
        return Ok(Json(preview::Shown::of(workflow, preview)?).into_response());
    }
    let commanded = match give(&services, &command, wait).await {
        Ok(commanded) => commanded,
        Err(error) => return Err(refused(&services, &command, error).await),
    };
    match &commanded.state {
        CommandState::Pending => accepted(&services, &commanded).await,
        CommandState::Done { .. } => done(&services, workflow, &commanded).await,
        CommandState::Refused { why } => Err(not_carried_out(&services, &command, why).await),
    }
}

/// Makes the command durable, and waits so long for its answer.
async fn give(
    services: &Services,
    command: &Command,
    wait: Duration,
) -> Result<Commanded, CommandError> {
    let runtime = &services.runtime;
    let deadline = runtime.now().after(wait.max(ACCEPTED_WITHIN));
    let mut given = pin!(services.engine.command(command.clone(), deadline));
    let mut stopping = services.stopping.clone();
    let over = async {
        tokio::select! {
            () = runtime.sleep(wait) => {}
            () = stopped(&mut stopping) => {}
        }
    };
    tokio::select! {
        biased;
        commanded = &mut given => return commanded,
        () = over => {}
    }
    // The time is over: what is durable need not be waited for any longer.
    loop {
        let row = services
            .store
            .command_of_key(command.workflow, &command.key)
            .await?;
        if let Some(row) = row.filter(|row| row.command.verb == command.verb) {
            let (id, state) = (row.id, row.state);
            return Ok(Commanded { id, state });
        }
        if let Some(commanded) = runtime.within(LOOK_EVERY, &mut given).await {
            return commanded;
        }
    }
}

/// 200 with the workflow as it is now.
async fn done(
    services: &Services,
    workflow: WorkflowId,
    commanded: &Commanded,
) -> Result<Response, Problem> {
    let not_found = || Problem::not_found("workflow", &workflow.to_string());
    let view = services.engine.view(workflow).await?;
    let response = answer(view.ok_or_else(not_found)?);
    Ok(match commanded.id.0 {
        0 => response,
        _ => ([(LOCATION, location(commanded))], response).into_response(),
    })
}

/// 202 with the command, which will be carried out or refused.
async fn accepted(services: &Services, commanded: &Commanded) -> Result<Response, Problem> {
    let row = services.store.command(commanded.id).await?;
    let row = row.ok_or_else(|| Problem::not_found("command", &commanded.id.0.to_string()))?;
    let headers = [(LOCATION, location(commanded))];
    Ok((StatusCode::ACCEPTED, headers, Json(Shown::from(row))).into_response())
}

fn location(commanded: &Commanded) -> String {
    format!("/v1/commands/{}", commanded.id.0)
}

/// The problem of a command that was not accepted, with the field that it is about.
async fn refused(services: &Services, command: &Command, error: CommandError) -> Problem {
    let is_invalid = matches!(error, CommandError::Invalid(_));
    let problem = Problem::from(error);
    if !is_invalid {
        return problem;
    }
    let (name, content) = fields_of(&command.verb);
    let knows_step = async {
        let view = services.engine.view(command.workflow).await.ok()??;
        view.state?.definition().index_of(command.verb.step()?)
    };
    problem.with_field(if knows_step.await.is_some() {
        content
    } else {
        name
    })
}

/// The problem of a command that its workflow has refused: it moved on in between, or it makes no sense.
async fn not_carried_out(services: &Services, command: &Command, why: &str) -> Problem {
    let view = services.engine.view(command.workflow).await;
    let now = view.ok().flatten().and_then(|view| view.state);
    match (command.expected_seq, now.map(|state| state.seq)) {
        (Some(expected), Some(now)) if expected != now => {
            CommandError::MovedOn { expected, now }.into()
        }
        _ => Problem::new(Kind::CONFLICT, why),
    }
}
