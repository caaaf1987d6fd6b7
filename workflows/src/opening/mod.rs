//! The opening of a sale: a durable saga that waits for the instant, records it once, and does the same for the closing.
//!
//! Whether a sale is open is not decided here: its schedule says so, and the gate lets purchases in from the first instant on by
//! itself, on every node, whoever owns this workflow and whether anybody does. What the saga adds is the record that it happened,
//! how late that record was, and an event for everyone who listens. It waits in the database, so it needs no key that expires and
//! nobody who stays alive.
//!
//! Each revision of a schedule has an opening workflow of its own. One whose revision is no longer the sale's does nothing: it is
//! told by a signal, or finds out when its time comes.

mod close;
mod open;
mod openings;
mod record;

use engine::definition::{Awaited, Definition, DefinitionError, Saga};
use engine::store::SqlDatabase;
use engine::{Runtime, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::ids::SaleId;

use close::Close;
use open::Open;
pub use openings::{OpeningError, Openings};
use record::Recorder;

/// The saga's name, by which it is started.
pub const NAME: &str = "opening";
/// The wait for the opening; a signal of this name ends the workflow.
pub const OPENING_CHANGED: &str = "opening-changed";
/// The wait for the closing; a signal of this name ends the workflow.
pub const CLOSING_CHANGED: &str = "closing-changed";

/// A revision of a sale's schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpeningInput {
    /// Which sale.
    pub sale: SaleId,
    /// Which revision.
    pub revision: u32,
    /// When it opens.
    pub opens_at: Timestamp,
    /// When it closes.
    pub closes_at: Timestamp,
}

/// What the signals say: the sale's schedule has another revision by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    /// The sale's revision.
    pub revision: u32,
}

/// What became of an opening or a closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Recorded {
    /// It was recorded, now or by an earlier revision.
    Recorded {
        /// When.
        at: Timestamp,
        /// How long after it was due, in microseconds.
        late_us: u64,
    },
    /// The schedule has another revision: this workflow records nothing.
    Superseded,
}

/// The saga over this database.
pub fn definition(
    database: &SqlDatabase,
    runtime: &Runtime,
) -> Result<Definition, DefinitionError> {
    let recorder = Recorder::new(database.clone(), runtime.clone());
    let mut saga = Saga::<OpeningInput>::new(NAME, 1);
    let input = saga.input();
    let opens_at = |input: OpeningInput, _| Some(input.opens_at);
    let opening = saga.await_signal::<Superseded, _>(OPENING_CHANGED, &input, opens_at);
    let open = Open(recorder.clone());
    let opened = saga.without_compensation(open, (&input, &opening), WHAT_HAPPENED);
    let closes_at = |(input, opened): (OpeningInput, Recorded), now| match opened {
        Recorded::Recorded { .. } => Some(input.closes_at),
        Recorded::Superseded => Some(now),
    };
    let closing = saga.await_signal::<Superseded, _>(CLOSING_CHANGED, (&input, &opened), closes_at);
    let close = Close(recorder);
    let closed = saga.without_compensation(close, (&input, &opened, &closing), WHAT_HAPPENED);
    saga.finish(&closed)
}

const WHAT_HAPPENED: &str = "a record of what happened stays";

/// Whether the wait was ended by a signal.
const fn was_told(changed: &Awaited<Superseded>) -> bool {
    matches!(changed, Awaited::Arrived(_))
}
