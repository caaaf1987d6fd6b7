//! Reservations in this process: the same scripts that Redis runs, over a keyspace in memory, on one thread of their own.

pub mod interpreter;
mod keyspace;
mod owner;

use std::sync::Arc;

use crate::ports::reservations::ReservationError;

use super::scripts::{Call, Reply, RunScript};
use interpreter::Interpreter;
use owner::Owner;

pub use keyspace::Dump;

/// The time in Unix microseconds: what the scripts are told as `TIME`.
pub type MicrosecondClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The embedded adapter. It starts empty, so every sale is rebuilt into it; its memory and its thread go when it is
/// dropped.
///
/// A call waits for its turn and its answer without a timer: the queue is bounded, a full queue refuses at once, each
/// script's work is bounded by its arguments, and a thread that has died answers with an error.
#[derive(Debug)]
pub struct EmbeddedReservations {
    incarnation: String,
    attached: std::sync::atomic::AtomicBool,
    owner: Owner,
}

impl EmbeddedReservations {
    /// An empty store. `incarnation` is new for each process: what was recorded for another one is not in here.
    pub fn new(
        incarnation: impl Into<String>,
        clock: MicrosecondClock,
    ) -> Result<Self, ReservationError> {
        let interpreter = Interpreter::new(clock)
            .map_err(|error| ReservationError::Misuse(format!("a script: {error}")))?;
        let owner =
            Owner::start(interpreter).map_err(|error| ReservationError::NotSent(error.into()))?;
        let attached = std::sync::atomic::AtomicBool::new(false);
        Ok(Self {
            incarnation: incarnation.into(),
            attached,
            owner,
        })
    }

    /// All keys with their fields and values: to look inside.
    pub async fn dump(&self) -> Result<Dump, ReservationError> {
        self.owner.dump().await
    }
}

impl RunScript for EmbeddedReservations {
    async fn run(&self, call: Call) -> Result<Reply, ReservationError> {
        let attached = self.attached.load(std::sync::atomic::Ordering::Acquire);
        if call.script.needs_checked_store() && !attached {
            return Err(ReservationError::OtherIncarnation(
                "not attached yet".to_owned(),
            ));
        }
        self.owner.run(call).await
    }

    async fn incarnation(&self) -> Result<String, ReservationError> {
        Ok(self.incarnation.clone())
    }

    async fn attach_checked(&self, checked: &str) -> Result<(), ReservationError> {
        if checked != self.incarnation {
            let found = &self.incarnation;
            let text = format!("{checked} was checked, {found} is there");
            return Err(ReservationError::OtherIncarnation(text));
        }
        self.attached
            .store(true, std::sync::atomic::Ordering::Release);
        Ok(())
    }
}
