//! Which problem each error of the layers below is.

use std::borrow::Cow;

use engine::batch::BatchError;
use engine::store::StoreError;
use engine::workflow::Refusal;
use engine::{CommandError, StartError};
use workflows::ports::catalogue::{RescheduleError, SeedError};
use workflows::ports::serials::FillError;
use workflows::purchase::QuoteError;

use super::{Kind, Problem};
use crate::auth::{RefreshError, TokenError};

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable { .. } | StoreError::Lost { .. } => {
                tracing::warn!(%error, "a request could not be served");
                Self::new(
                    Kind::UNAVAILABLE,
                    "the database can't be reached at the moment; try again",
                )
            }
            StoreError::Corrupt { .. } => Self::internal("reading or writing the database", &error),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(Kind::refused(&refusal.code), refusal.message)
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            error @ TokenError::Signing(_) => Self::internal("signing a token", &error),
            error => {
                Self::new(Kind::UNAUTHENTICATED, error.to_string()).with_field("Authorization")
            }
        }
    }
}

impl From<RefreshError> for Problem {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Token(error) => Self::from(error).with_field("refresh_token"),
            error @ RefreshError::Revoked => {
                Self::new(Kind::UNAUTHENTICATED, error.to_string()).with_field("refresh_token")
            }
            RefreshError::Contended => Self::new(
                Kind::UNAVAILABLE,
                "this can't be done at the moment; nothing was done, try again",
            ),
            RefreshError::Store(error) => error.into(),
        }
    }
}

impl From<QuoteError> for Problem {
    fn from(error: QuoteError) -> Self {
        let kind = Kind {
            slug: Cow::Borrowed(error.code()),
            ..Kind::INVALID_FIELD
        };
        let field = error.field();
        Self::new(kind, format!("`{field}`: {error}")).with_field(field)
    }
}

impl From<SeedError> for Problem {
    fn from(error: SeedError) -> Self {
        match error {
            SeedError::Invalid(invalid) => Self::invalid(invalid.field, invalid.problem),
            SeedError::Conflict(why) => Self::new(Kind::CONFLICT, why),
            error @ SeedError::Contended => Self::new(Kind::UNAVAILABLE, error.to_string()),
            SeedError::Store(error) => error.into(),
        }
    }
}

impl From<RescheduleError> for Problem {
    fn from(error: RescheduleError) -> Self {
        match error {
            RescheduleError::NotFound(sale) => Self::not_found("sale", sale.as_str()),
            error @ RescheduleError::MovedOn { .. } => {
                Self::new(Kind::MOVED_ON, error.to_string()).with_field("revision")
            }
            RescheduleError::Invalid(invalid) => Self::invalid(invalid.field, invalid.problem),
            RescheduleError::Store(error) => error.into(),
        }
    }
}

impl From<FillError> for Problem {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Invalid { field, problem } => Self::invalid(field, problem),
            error @ FillError::Taken { .. } => Self::new(Kind::CONFLICT, error.to_string()),
            FillError::Store(error) => error.into(),
        }
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Refused(refusal) => refusal.into(),
            StartError::KeyReused(id) => Self::new(
                Kind::IDEMPOTENCY_KEY_REUSED,
                format!("the Idempotency-Key was used for another request, which started {id}: take a new key"),
            )
            .with_field("Idempotency-Key"),
            StartError::Unavailable(error) => {
                tracing::warn!(error.class = %error.class, error.message = %error.message, "a start could not be tried");
                Self::new(Kind::UNAVAILABLE, "something that is needed can't be reached; nothing was done, try again")
            }
            StartError::Busy => {
                Self::new(Kind::BUSY, "as many are in flight as this node takes on; nothing was done, try again")
            }
            StartError::NotServing(why) => {
                Self::new(Kind::UNAVAILABLE, format!("this node takes no starts at the moment ({why}); try again"))
            }
            StartError::Undecided(id) => Self::new(
                Kind::UNDECIDED,
                format!("{id} is not known to be durable yet: try again with the same Idempotency-Key to find out"),
            ),
            StartError::Store(error) => error.into(),
            error @ (StartError::UnknownDefinition(_) | StartError::Input(_)) => {
                Self::internal("starting a workflow", &error)
            }
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::NotFound(id) => Self::not_found("workflow", &id.to_string()),
            CommandError::Conflict(why) => Self::new(Kind::CONFLICT, why),
            error @ CommandError::MovedOn { .. } => {
                Self::new(Kind::MOVED_ON, error.to_string()).with_field("If-Match")
            }
            CommandError::Invalid(why) => Self::new(Kind::INVALID_FIELD, why),
            CommandError::KeyReused(id) => key_reused("command", id.0),
            CommandError::Undecided => Self::new(
                Kind::UNDECIDED,
                "it is not known yet whether the command is durable: send it again under the same key to find out",
            ),
            CommandError::Store(error) => error.into(),
        }
    }
}

impl From<BatchError> for Problem {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::EmptyFilter => Self::invalid(
                "filter",
                "must name its workflows: by state, definition, reason, label or step",
            ),
            BatchError::Invalid(why) => Self::new(Kind::INVALID_FIELD, why),
            BatchError::KeyReused(id) => key_reused("batch", id),
            BatchError::Store(error) => error.into(),
        }
    }
}

fn key_reused(what: &str, number: u64) -> Problem {
    let why = format!("the key was used for another {what}, number {number}: take a new one");
    Problem::new(Kind::IDEMPOTENCY_KEY_REUSED, why).with_field("Idempotency-Key")
}
