//! The gate's content from the database: what is sold, held and claimed by workflows that are durable. Whoever calls this
//! has seen to it that nothing is held in the gate that is not durable yet.

use std::time::Duration;

use engine::Timestamp;
use engine::store::change::ChangeKind;
use engine::store::{Change, CommitError, SqlDatabase, StoreError, Value};
use engine::workflow::Refusal;

pub use super::snapshot::snapshot;
use crate::domain::sale::Sale;
use crate::ports::reservations::{ReservationError, Reservations};
use crate::rows::{nonsense, unsigned};
use crate::tables::GATE_REBUILDS;

/// After this long without a word, another node takes a rebuild over.
pub const LEASE: Duration = Duration::from_secs(10);
/// Times that a generation is asked for when others take it.
const GENERATION_ATTEMPTS_MAX: u32 = 10;

/// The gate could not be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The database failed while the snapshot was read or the generation was taken.
    #[error("the database failed while the gate was rebuilt")]
    Store(#[from] StoreError),
    /// The reservations failed while the snapshot was loaded: the sale's gate is closed.
    #[error("the reservations failed while the gate was rebuilt")]
    Reservations(#[from] ReservationError),
    /// Another node is at it. It says so again and again; when it no longer does, this one takes over.
    #[error("another node rebuilds the gate, as generation {generation}")]
    Elsewhere {
        /// Its generation.
        generation: u64,
    },
    /// Others took one generation after another.
    #[error("no generation could be taken for the rebuild: others rebuild at the same time")]
    Contended,
}

/// Takes the next generation for a rebuild of the gate that is this incarnation: nobody else gets the same, and as long as its
/// rebuild is not finished and [`renew`]ed within [`LEASE`], nobody else gets any. The clocks of nodes only decide how soon the
/// work of a dead node is taken up; that two are at it at once does no harm, because of two rebuilds the one that began first
/// fails.
pub async fn begin(
    database: &SqlDatabase,
    incarnation: &str,
    now: Timestamp,
) -> Result<u64, RebuildError> {
    for _ in 0..GENERATION_ATTEMPTS_MAX {
        let sql = "SELECT generation, incarnation, finished, started_us FROM gate_rebuilds \
                   ORDER BY generation DESC LIMIT 1";
        let rows = database
            .query("reading the gate's generation", sql, &[])
            .await?;
        let last = match rows.first() {
            None => 0,
            Some(row) => {
                let same = row.text(1)? == incarnation && row.integer(2)? == 0;
                if same && now.since(Timestamp(row.integer(3)?)) < LEASE {
                    let generation = unsigned(row, 0)?;
                    return Err(RebuildError::Elsewhere { generation });
                }
                row.integer(0)?
            }
        };
        let generation = last + 1;
        let values = vec![incarnation.into(), 0.into(), now.0.into()];
        let begun = [gate_rebuild(generation, ChangeKind::Insert(values))];
        match database
            .transact("taking a generation for the gate", &begun)
            .await
        {
            Ok(()) => return u64::try_from(generation).map_err(|error| nonsense(&error).into()),
            Err(CommitError::RowRefused { .. } | CommitError::Contended(_)) => {}
            Err(error) => return Err(stored(error)),
        }
    }
    Err(RebuildError::Contended)
}

/// Says that the rebuild of this generation goes on.
pub async fn renew(
    database: &SqlDatabase,
    generation: u64,
    now: Timestamp,
) -> Result<(), RebuildError> {
    let doing = "renewing the rebuild of the gate";
    set(database, doing, generation, ("started_us", now.0.into())).await
}

/// Says that nobody is at the rebuild of this generation any more.
pub async fn give_up(database: &SqlDatabase, generation: u64) -> Result<(), RebuildError> {
    let doing = "giving up the rebuild of the gate";
    set(database, doing, generation, ("started_us", 0.into())).await
}

/// Records that every sale was loaded under this generation.
pub async fn finish(database: &SqlDatabase, generation: u64) -> Result<(), RebuildError> {
    let doing = "recording the gate's rebuild";
    set(database, doing, generation, ("finished", 1.into())).await
}

async fn set(
    database: &SqlDatabase,
    doing: &'static str,
    generation: u64,
    column: (&'static str, Value),
) -> Result<(), RebuildError> {
    let generation = i64::try_from(generation).unwrap_or(i64::MAX);
    let change = [gate_rebuild(generation, ChangeKind::Set(vec![column]))];
    database.transact(doing, &change).await.map_err(stored)
}

/// The incarnation that the last finished rebuild loaded.
pub async fn last_rebuilt(database: &SqlDatabase) -> Result<Option<String>, StoreError> {
    let sql =
        "SELECT incarnation FROM gate_rebuilds WHERE finished = 1 ORDER BY generation DESC LIMIT 1";
    let rows = database
        .query("reading the gate's last rebuild", sql, &[])
        .await?;
    rows.first()
        .map(|row| Ok(row.text(0)?.to_owned()))
        .transpose()
}

/// Loads one sale into the gate, which is closed until all of it is there.
pub async fn rebuild(
    database: &SqlDatabase,
    reservations: &dyn Reservations,
    sale: &Sale,
    generation: u64,
) -> Result<(), RebuildError> {
    let snapshot = snapshot(database, sale, generation).await?;
    Ok(reservations.rebuild(&snapshot).await?)
}

fn gate_rebuild(generation: i64, kind: ChangeKind) -> Change {
    let refusal = Refusal::new("gate-rebuild", "Another rebuild has this generation.");
    Change {
        table: &GATE_REBUILDS,
        key: vec![generation.into()],
        kind,
        refusal,
    }
}

fn stored(error: CommitError) -> RebuildError {
    match error {
        CommitError::Store(error) => error.into(),
        other => nonsense(&other).into(),
    }
}
