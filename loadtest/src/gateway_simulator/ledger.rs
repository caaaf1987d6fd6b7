//! The ledger as the routes use it: decide, record, and answer only when the record is on the disk.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::timeout;

use super::journal::{Line, Progress, Writer};
use super::refusal::Refusal;

/// No disk takes this long for a batch unless it is broken.
const DURABLE_WAIT_MAX: Duration = Duration::from_secs(30);

/// What a list of entries comes to. Pure: the same entries make the same register.
pub(super) trait Register: Default + Send + 'static {
    /// One line of the file.
    type Entry: Serialize + DeserializeOwned;
    /// The number of the last entry; 0 when there is none.
    fn sequence(&self) -> u64;
    /// The number that an entry has.
    fn sequence_of(entry: &Self::Entry) -> u64;
    /// Adds an entry, new or replayed, and returns its index; one that does not follow changes nothing.
    fn apply(&mut self, entry: Self::Entry) -> Result<usize, BrokenBook>;
}

/// An entry does not follow from those before it: the file was edited, or is another program's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {sequence} does not follow: {reason}")]
pub struct BrokenBook {
    sequence: u64,
    reason: &'static str,
}

impl BrokenBook {
    pub(super) const fn new(sequence: u64, reason: &'static str) -> Self {
        Self { sequence, reason }
    }
}

/// What a request comes to: the answer given before, or a new entry.
pub(super) enum Verdict<E> {
    Repeat(usize),
    New(E),
}

/// One register, its file if it has one, and the lock that makes deciding and recording one thing.
pub(super) struct Ledger<R> {
    open: Mutex<Open<R>>,
    progress: Option<watch::Receiver<Progress>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    entries_max: u64,
}

struct Open<R> {
    book: R,
    sink: Sink,
}

enum Sink {
    Memory,
    File(SyncSender<Line>),
    Closed,
}

/// An answer and the entry that must be durable before it may be given.
pub(super) struct Pending<T> {
    answer: T,
    sequence: u64,
    /// It happened by this very request.
    pub is_new: bool,
}

impl<R: Register> Ledger<R> {
    pub fn in_memory(entries_max: u64) -> Self {
        let open = Mutex::new(Open {
            book: R::default(),
            sink: Sink::Memory,
        });
        Self {
            open,
            progress: None,
            writer: Mutex::new(None),
            entries_max,
        }
    }

    pub fn in_file(book: R, writer: Writer, entries_max: u64) -> Self {
        let Writer {
            lines,
            progress,
            thread,
        } = writer;
        Self {
            open: Mutex::new(Open {
                book,
                sink: Sink::File(lines),
            }),
            progress: Some(progress),
            writer: Mutex::new(Some(thread)),
            entries_max,
        }
    }

    /// Decides a request and records it if it is new; `answer` turns the entry into what the client reads.
    pub fn record<T>(
        &self,
        decide: impl FnOnce(&R) -> Result<Verdict<R::Entry>, Refusal>,
        answer: impl FnOnce(&R, usize) -> T,
    ) -> Result<Pending<T>, Refusal> {
        let mut open = self.lock();
        let (index, is_new) = match decide(&open.book)? {
            Verdict::Repeat(index) => (index, false),
            Verdict::New(_) if open.book.sequence() >= self.entries_max => {
                return Err(Refusal::unavailable(
                    "ledger-full",
                    "the ledger takes no more entries: restart with a new one",
                ));
            }
            Verdict::New(entry) => {
                // To the writer first: what it refuses has had no effect.
                open.sink.write(|| Line::of::<R>(&entry))?;
                let index = open
                    .book
                    .apply(entry)
                    .map_err(|broken| Refusal::broken("ledger-broken", &broken.to_string()))?;
                (index, true)
            }
        };
        Ok(Pending {
            answer: answer(&open.book, index),
            sequence: open.book.sequence(),
            is_new,
        })
    }

    /// Reads the book; like an answer, what was read may be told only when it is durable.
    pub fn read<T>(&self, question: impl FnOnce(&R) -> T) -> Pending<T> {
        let open = self.lock();
        Pending {
            answer: question(&open.book),
            sequence: open.book.sequence(),
            is_new: false,
        }
    }

    /// Waits until what the answer rests on is durable.
    pub async fn settle<T>(&self, pending: Pending<T>) -> Result<T, Refusal> {
        let Pending {
            answer, sequence, ..
        } = pending;
        let Some(mut progress) = self.progress.clone() else {
            return Ok(answer);
        };
        let reached = progress.wait_for(|progress| match progress {
            Progress::Durable(durable) => *durable >= sequence,
            Progress::Failed => true,
        });
        match timeout(DURABLE_WAIT_MAX, reached).await {
            Ok(Ok(progress)) if *progress != Progress::Failed => Ok(answer),
            _ => Err(Refusal::broken(
                "ledger-failed",
                "the ledger can't be written",
            )),
        }
    }

    /// Whether payments can be recorded.
    pub fn is_sound(&self) -> bool {
        let failed = self
            .progress
            .as_ref()
            .is_some_and(|progress| *progress.borrow() == Progress::Failed);
        !failed && !matches!(self.lock().sink, Sink::Closed)
    }

    /// Takes nothing more, writes what waits, and lets go of the file. Blocks for a write and a sync at most.
    pub fn close(&self) {
        self.lock().sink = Sink::Closed;
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the ledger's writer ended by a panic");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open<R>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    fn write(&self, line: impl FnOnce() -> serde_json::Result<Line>) -> Result<(), Refusal> {
        match self {
            Self::Memory => Ok(()),
            Self::Closed => Err(Refusal::unavailable("closing", "the gateway is stopping")),
            Self::File(lines) => {
                let line =
                    line().map_err(|error| Refusal::broken("ledger-broken", &error.to_string()))?;
                lines.try_send(line).map_err(|error| match error {
                    TrySendError::Full(_) => {
                        Refusal::unavailable("busy", "too much waits for the disk")
                    }
                    TrySendError::Disconnected(_) => {
                        Refusal::unavailable("ledger-failed", "the ledger can't be written")
                    }
                })
            }
        }
    }
}
