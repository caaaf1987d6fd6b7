//! The folder in which embedded mode keeps everything: one process at a time, and the key that signs its tokens.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use engine::Runtime;

use crate::auth::KEY_BYTES_MIN;
use crate::config::Secret;
use crate::exit::{Code, Failure};

/// The folder, held by this process until it ends, however it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder where it is missing, and takes it.
    pub fn take(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::new(
                Code::Configuration,
                format!(
                    "the data directory {} can't be used: {error}; choose another by --data-dir",
                    path.display()
                ),
            )
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(Failure::new(
                Code::InUse,
                format!(
                    "the data directory {} is in use by another holdfast: stop that one, or choose another by --data-dir",
                    path.display()
                ),
            )),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The database's file.
    pub fn database(&self) -> PathBuf {
        self.path.join("holdfast.db")
    }

    /// The simulated gateway's ledger.
    pub fn ledger(&self) -> PathBuf {
        self.path.join("gateway-ledger.jsonl")
    }

    /// The key that tokens are signed with: made at the first start, readable by its owner only, and kept.
    pub fn token_key(&self, runtime: &Runtime) -> Result<Vec<u8>, Failure> {
        let path = self.path.join("token-key");
        let failed = |error: io::Error| {
            Failure::new(
                Code::Configuration,
                format!("the token key {} can't be used: {error}", path.display()),
            )
        };
        if !path.try_exists().map_err(failed)? {
            write_key(&path, &Secret::random(runtime)).map_err(failed)?;
        }
        let mut key = Vec::new();
        File::open(&path)
            .and_then(|mut file| file.read_to_end(&mut key))
            .map_err(failed)?;
        if key.len() < KEY_BYTES_MIN {
            let why = format!(
                "it has {} bytes and needs {KEY_BYTES_MIN}: remove it, and a new one is made",
                key.len()
            );
            return Err(failed(io::Error::other(why)));
        }
        Ok(key)
    }
}

/// The file is there whole, or not at all.
fn write_key(path: &Path, key: &Secret) -> io::Result<()> {
    let partial = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(key.expose().as_bytes())?;
    file.sync_all()?;
    fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_token_key_is_private_and_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataDir::take(&path)
            .unwrap()
            .token_key(&Runtime::system())
            .unwrap();
        let again = DataDir::take(&path)
            .unwrap()
            .token_key(&Runtime::system())
            .unwrap();
        assert_eq!(first, again);
        assert_eq!(first.len(), 64);
        let mode = fs::metadata(path.join("token-key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_data_directory_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataDir::take(folder.path()).unwrap();
        let second = DataDir::take(folder.path()).unwrap_err();
        assert_eq!(second.code, Code::InUse);
        assert!(
            second.sentence.contains("in use by another holdfast"),
            "{second}"
        );
        drop(held);
        DataDir::take(folder.path()).unwrap();
    }
}
