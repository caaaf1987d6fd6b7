//! `POST /v1/purchases/{id}/confirm` and `/cancel`: what a buyer says while the payment is awaited. The first word counts, the
//! buyer's or the gateway's webhook's; whoever comes later is told how it ended.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use engine::command::{Command, Verb};
use engine::definition::Awaited;
use engine::store::CommandState;
use engine::workflow::{By, Phase, Signal, WorkflowState};
use engine::{CommandError, Payload, View};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use workflows::domain::ids::BuyerId;
use workflows::ports::payment_gateway::PaymentToken;
use workflows::purchase::{AUTHORISATION, Authorisation, stage};

use super::BODY_BYTES_MAX;
use super::order::is_visible_ascii;
use super::purchase::of_buyer;
use super::shown::{Purchase, purchase_of};
use crate::auth::Buyer;
use crate::hexadecimal::hexadecimal;
use crate::http::{self, Path};
use crate::problem::{Kind, Problem, Retry};
use crate::wiring::{Services, Shared};

const AUTHORIZATION_BYTES_MAX: usize = 256;
/// A word that is not durable after this long may be said again.
const SAID_WITHIN: Duration = Duration::from_secs(10);
/// What was answered is seen by everybody after this.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// What the buyer brings back from the gateway.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct Returned {
    authorization: String,
}

type Answered = Result<(StatusCode, Json<Purchase>), Problem>;

pub async fn confirm(
    State(services): State<Shared>,
    Buyer(buyer): Buyer,
    Path(id): Path,
    http::Json(returned): http::Json<Returned, BODY_BYTES_MAX>,
) -> Answered {
    let (view, _) = of_buyer(&services, &buyer, &id).await?;
    if !is_visible_ascii(&returned.authorization, AUTHORIZATION_BYTES_MAX) {
        let reason = format!("must be 1 to {AUTHORIZATION_BYTES_MAX} visible ASCII characters");
        return Err(Problem::invalid("authorization", reason));
    }
    let word = Word {
        id: format!(
            "return/{}",
            hexadecimal(&Sha256::digest(&returned.authorization))
        ),
        says: Authorisation::Authorised {
            token: PaymentToken::new(returned.authorization),
        },
        by: by(&buyer, "came back from the payment gateway"),
    };
    answer(&services, &buyer, view, word, Kind::PAYMENT_OVER).await
}

pub async fn cancel(
    State(services): State<Shared>,
    Buyer(buyer): Buyer,
    Path(id): Path,
) -> Answered {
    let (view, _) = of_buyer(&services, &buyer, &id).await?;
    let word = Word {
        id: "cancel".to_owned(),
        says: Authorisation::Cancelled,
        by: by(&buyer, "cancelled the purchase"),
    };
    answer(&services, &buyer, view, word, Kind::TOO_LATE_TO_CANCEL).await
}

fn by(buyer: &BuyerId, reason: &str) -> By {
    By {
        actor: format!("buyer {buyer}"),
        reason: reason.to_owned(),
    }
}

async fn answer(
    services: &Services,
    buyer: &BuyerId,
    view: View,
    word: Word,
    too_late: Kind,
) -> Answered {
    match say(services, view, word).await? {
        Said::Taken(view) => {
            let not_found = || Problem::not_found("purchase", &view.id.to_string());
            let purchase = purchase_of(buyer, &view)?.ok_or_else(not_found)?;
            Ok((StatusCode::ACCEPTED, Json(purchase)))
        }
        Said::TooLate { ended, view } => {
            let problem = Problem::new(too_late, ended)
                .with_retry(Retry::is_in_vain("It will not be awaited again."));
            Err(match view.state.as_deref() {
                Some(state) => problem.with_stage(stage(state).word()),
                None => problem,
            })
        }
    }
}

/// Something that is said about a payment that is awaited.
pub struct Word {
    /// Its name: said again under this name it counts once.
    pub id: String,
    /// What.
    pub says: Authorisation,
    /// Who says it.
    pub by: By,
}

/// What became of a word.
pub enum Said {
    /// It counts, now or since before; or it came before the payment was awaited and is kept.
    Taken(View),
    /// Something else counted.
    TooLate {
        /// How it ended, in a sentence.
        ended: String,
        /// The purchase.
        view: View,
    },
}

/// Says it to the workflow, whichever node has it.
pub async fn say(services: &Services, view: View, word: Word) -> Result<Said, Problem> {
    let Word { id, says, by } = word;
    if let Some(end) = end_of(&view)? {
        return Ok(end.said(view, &says));
    }
    let workflow = view.id;
    let payload =
        Payload::of(&says).map_err(|error| Problem::internal("storing a signal", &error))?;
    let command = Command {
        workflow,
        verb: Verb::Signal(Signal {
            name: AUTHORISATION.to_owned(),
            id: id.clone(),
            payload,
        }),
        by,
        expected_seq: None,
        key: id,
    };
    let runtime = &services.runtime;
    let deadline = runtime.now().after(SAID_WITHIN);
    let (seq, refused) = match services.engine.command(command, deadline).await {
        Ok(commanded) => match commanded.state {
            CommandState::Done { seq } => (seq, None),
            CommandState::Refused { why } => (0, Some(why)),
            CommandState::Pending => return Err(CommandError::Undecided.into()),
        },
        Err(CommandError::Conflict(why)) => (0, Some(why)),
        Err(error) => return Err(error.into()),
    };
    let seen = |view: &View| view.state.as_ref().is_some_and(|state| state.seq >= seq);
    let deadline = runtime.now().after(SEEN_WITHIN);
    let view = services.engine.wait_for(workflow, deadline, seen).await?;
    let view = view.ok_or_else(|| Problem::not_found("purchase", &workflow.to_string()))?;
    match (end_of(&view)?, refused) {
        (Some(end), _) => Ok(end.said(view, &says)),
        (None, None) => Ok(Said::Taken(view)),
        (None, Some(why)) => Err(Problem::new(Kind::CONFLICT, why)),
    }
}

/// How the wait ended.
enum End {
    /// By a word, or by its time.
    With(Awaited<Authorisation>),
    /// There was none, or the purchase has turned back.
    Without,
}

/// How the wait of this purchase ended; `None` when it has not.
fn end_of(view: &View) -> Result<Option<End>, Problem> {
    let Some(state) = view.state.as_deref() else {
        let why = "this node does not know this version of the purchase; try again later";
        return Err(Problem::new(Kind::UNAVAILABLE, why));
    };
    if state.definition().index_of(AUTHORISATION).is_none() {
        return Ok(Some(End::Without));
    }
    if let Some(output) = state.output_of(AUTHORISATION) {
        let ended = output
            .to()
            .map_err(|error| Problem::internal("reading a purchase", &error))?;
        return Ok(Some(End::With(ended)));
    }
    Ok((!may_go_on(state)).then_some(End::Without))
}

fn may_go_on(state: &WorkflowState) -> bool {
    match &state.phase {
        Phase::Running => true,
        Phase::Parked { turning_back, .. } => turning_back.is_none(),
        _ => false,
    }
}

impl End {
    fn said(self, view: View, says: &Authorisation) -> Said {
        let ended = match self {
            Self::With(Awaited::Arrived(first)) if first == *says => return Said::Taken(view),
            Self::With(Awaited::Arrived(Authorisation::Authorised { .. })) => {
                "The payment was authorised before.".to_owned()
            }
            Self::With(Awaited::Arrived(Authorisation::Declined { message, .. })) => {
                format!("The payment was declined before: {message}")
            }
            Self::With(Awaited::Arrived(Authorisation::Cancelled)) => {
                "The purchase was cancelled before.".to_owned()
            }
            Self::With(Awaited::TimedOut) => "The payment was not authorised in time.".to_owned(),
            Self::Without => "This purchase does not wait for its buyer.".to_owned(),
        };
        Said::TooLate { ended, view }
    }
}
