//! The ledger's file: one JSON line an entry, on the disk before anybody is answered, replayed at the next start.
//!
//! One thread writes. It takes whatever waits, writes it at once and syncs once, so that a hundred answers share a sync.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use tokio::sync::watch;
use tracing::{error, warn};

use super::ledger::{BrokenBook, Register};

/// Entries that may wait for the disk; more are refused before they have any effect.
const WAITING_MAX: usize = 16 * 1024;
const BATCH_LINES_MAX: usize = 1_024;
const LINE_BYTES_MAX: u64 = 8 * 1_024;
/// What is wrong with a line may repeat the line.
const REASON_CHARS_MAX: usize = 400;

/// The ledger's file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerFileError {
    /// Reading, writing or locking failed.
    #[error("the ledger file {} can't be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another simulator has it.
    #[error("the ledger file {} is in use by another simulator: stop that one, or name another file", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A complete line that is not an entry.
    #[error("line {line} of the ledger file {} is not an entry ({reason}): restore the file, or name another one", path.display())]
    NotAnEntry {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Entries that contradict each other.
    #[error("the ledger file {} contradicts itself: restore it, or name another one", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// Which entry, and why.
        #[source]
        source: BrokenBook,
    },
}

/// An entry on its way to the disk.
pub(super) struct Line {
    pub sequence: u64,
    pub bytes: Vec<u8>,
}

impl Line {
    pub fn of<R: Register>(entry: &R::Entry) -> serde_json::Result<Self> {
        let mut bytes = serde_json::to_vec(entry)?;
        bytes.push(b'\n');
        Ok(Self {
            sequence: R::sequence_of(entry),
            bytes,
        })
    }
}

/// How far the disk has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Every entry up to this one is on the disk.
    Durable(u64),
    /// The disk refused: nothing after the last `Durable` counts, and nothing more is written.
    Failed,
}

/// The writer thread and the two ends that the ledger holds.
pub(super) struct Writer {
    pub lines: SyncSender<Line>,
    pub progress: watch::Receiver<Progress>,
    pub thread: JoinHandle<()>,
}

/// Replays the file, which is made where there is none, and starts its writer. Blocks.
pub(super) fn open<R: Register>(path: &Path) -> Result<(R, Writer), LedgerFileError> {
    let failed = |source| LedgerFileError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(LedgerFileError::InUse {
                path: path.to_owned(),
            });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let (book, end) = replay::<R>(path, &file)?;
    file.set_len(end)
        .and_then(|()| file.seek(SeekFrom::Start(end)))
        .and_then(|_| file.sync_all())
        .and_then(|()| sync_folder(path))
        .map_err(failed)?;
    let (lines, waiting) = sync_channel(WAITING_MAX);
    let (durable, progress) = watch::channel(Progress::Durable(book.sequence()));
    let thread = thread::Builder::new()
        .name("gateway-ledger".to_owned())
        .spawn(move || write_until_closed(&mut file, &waiting, &durable))
        .map_err(failed)?;
    Ok((
        book,
        Writer {
            lines,
            progress,
            thread,
        },
    ))
}

/// The book, and the length of the file without what a crash cut off.
fn replay<R: Register>(path: &Path, file: &File) -> Result<(R, u64), LedgerFileError> {
    let not_an_entry = |line, reason: String| LedgerFileError::NotAnEntry {
        path: path.to_owned(),
        line,
        reason: reason.chars().take(REASON_CHARS_MAX).collect(),
    };
    let (mut book, mut end, mut text) = (R::default(), 0_u64, Vec::new());
    let mut reader = BufReader::new(file);
    for line in 1.. {
        text.clear();
        let read = (&mut reader)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut text);
        let length = read.map_err(|source| LedgerFileError::Io {
            path: path.to_owned(),
            source,
        })? as u64;
        if length == 0 {
            break;
        }
        if text.last() != Some(&b'\n') {
            if length == LINE_BYTES_MAX {
                return Err(not_an_entry(
                    line,
                    format!("it is longer than {LINE_BYTES_MAX} bytes"),
                ));
            }
            warn!(ledger.file = %path.display(), ledger.line = line, bytes = length, "dropped a torn last line: nobody was answered for it");
            break;
        }
        let entry =
            serde_json::from_slice(&text).map_err(|error| not_an_entry(line, error.to_string()))?;
        book.apply(entry)
            .map_err(|source| LedgerFileError::Contradiction {
                path: path.to_owned(),
                source,
            })?;
        end += length;
    }
    Ok((book, end))
}

/// A new file's name must survive a power cut too.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Ends, and lets go of the file, when the ledger has dropped its end of `waiting`.
fn write_until_closed(
    file: &mut File,
    waiting: &Receiver<Line>,
    durable: &watch::Sender<Progress>,
) {
    let mut batch = Vec::new();
    while let Ok(first) = waiting.recv() {
        batch.clear();
        batch.extend_from_slice(&first.bytes);
        let mut last = first.sequence;
        for line in waiting.try_iter().take(BATCH_LINES_MAX - 1) {
            batch.extend_from_slice(&line.bytes);
            last = line.sequence;
        }
        if let Err(cause) = file.write_all(&batch).and_then(|()| file.sync_data()) {
            error!(error = %cause, "the ledger file can't be written: no payment is answered until a restart");
            durable.send_replace(Progress::Failed);
            return;
        }
        durable.send_replace(Progress::Durable(last));
    }
}
