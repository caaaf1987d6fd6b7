//! How long workflows that have ended are kept, and where they go before they are removed.
//!
//! With a retention set, a workflow is removed, with its events and commands, once it has been at its end for that long, and
//! never while one of its events is unpublished. Its start key is remembered exactly as long as its row: a start that is
//! repeated under the key after that begins a new workflow, so the retention must be longer than any client goes on repeating.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::Serialize;

use crate::runtime::Timestamp;
use crate::store::{Head, Status};
use crate::workflow::{DefinitionRef, Record};

/// The export of workflows failed: they are not removed, and exported again later.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct ArchiveError {
    /// What was being done, such as `writing to the archive`.
    pub doing: String,
    /// Why it failed.
    #[source]
    pub cause: Box<dyn std::error::Error + Send + Sync>,
}

/// Where workflows go before they are removed.
#[async_trait]
pub trait Archive: fmt::Debug + Send + Sync + 'static {
    /// Keeps these workflows durably. A workflow may come again: when the node dies after the export, or another one takes over.
    async fn export(&self, workflows: &[(Head, Vec<Record>)]) -> Result<(), ArchiveError>;
}

/// A file of JSON lines, one a workflow, to which is only ever appended.
#[derive(Debug)]
pub struct JsonLinesArchive {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    id: String,
    definition: &'a DefinitionRef,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    created_us: Timestamp,
    updated_us: Timestamp,
    records: &'a [Record],
}

impl JsonLinesArchive {
    /// Opens the file, or makes it. A last line that a crash cut short is removed: its workflow was not, and comes again.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ArchiveError> {
        let path = path.as_ref().to_owned();
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .and_then(|mut file| {
                let end = end_of_last_line(&mut file)?;
                file.set_len(end)?;
                file.seek(SeekFrom::Start(end))?;
                Ok(file)
            });
        match opened {
            Ok(file) => Ok(Self {
                path,
                file: Arc::new(Mutex::new(file)),
            }),
            Err(error) => Err(failed("opening", &path, error)),
        }
    }
}

fn failed(doing: &str, path: &Path, cause: io::Error) -> ArchiveError {
    ArchiveError {
        doing: format!("{doing} the archive {}", path.display()),
        cause: cause.into(),
    }
}

/// Where the last whole line of the file ends.
fn end_of_last_line(file: &mut File) -> io::Result<u64> {
    const BLOCK: u64 = 64 * 1024;
    let mut end = file.seek(SeekFrom::End(0))?;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let mut block = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        io::Read::by_ref(file)
            .take(end - start)
            .read_to_end(&mut block)?;
        if let Some(place) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Appends the lines, or leaves the file as it was.
fn append(file: &mut File, lines: &[u8]) -> io::Result<()> {
    let end = file.seek(SeekFrom::End(0))?;
    let written = file.write_all(lines).and_then(|()| file.sync_data());
    if written.is_err() {
        // Half a line would spoil the next one. If this fails as well, so will the next export, or `open` sees to it.
        let _spoilt = file.set_len(end);
    }
    written
}

#[async_trait]
impl Archive for JsonLinesArchive {
    async fn export(&self, workflows: &[(Head, Vec<Record>)]) -> Result<(), ArchiveError> {
        let mut lines = Vec::new();
        for (head, records) in workflows {
            let line = Line {
                id: head.id.to_string(),
                definition: &head.definition,
                status: head.status,
                reason: head.reason.as_deref(),
                label: head.label.as_deref(),
                created_us: head.created_at,
                updated_us: head.updated_at,
                records,
            };
            serde_json::to_writer(&mut lines, &line)
                .map_err(|error| failed("writing to", &self.path, error.into()))?;
            lines.push(b'\n');
        }
        let file = Arc::clone(&self.file);
        let write = move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            append(&mut file, &lines)
        };
        let written = tokio::task::spawn_blocking(write).await;
        written
            .unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
            .map_err(|error| failed("writing to", &self.path, error))
    }
}
