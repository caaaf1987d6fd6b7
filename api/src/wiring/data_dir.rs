//! The folder in which embedded mode keeps everything: one process at a time, the key that signs its tokens, and a token for
//! whoever operates it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::Runtime;

use crate::auth::{KEY_BYTES_MIN, Operator, Role, Tokens};
use crate::config::Secret;
use crate::exit::{Code, Failure};

/// The name of the file with the key.
const TOKEN_KEY: &str = "token-key";
/// How long the operators' token is good for: it is made anew at each start, and lies beside the key that signs it.
const OPERATOR_TOKEN_LIFETIME: Duration = Duration::from_hours(365 * 24);

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
        if let Some(key) = kept_token_key(&self.path)? {
            return Ok(key);
        }
        let (path, key) = (self.path.join(TOKEN_KEY), Secret::random(runtime));
        write_private(&path, key.expose()).map_err(|error| unusable("token key", &path, &error))?;
        Ok(key.expose().as_bytes().to_vec())
    }

    /// Writes a new token for whoever may read this folder, an admin, and says where it is.
    pub fn renew_operator_token(&self, tokens: &Tokens) -> Result<PathBuf, Failure> {
        let path = operator_token_path(&self.path);
        let operator = Operator {
            name: "admin".to_owned(),
            role: Role::Admin,
        };
        let signed = tokens
            .sign_operator(&operator, OPERATOR_TOKEN_LIFETIME)
            .map_err(|error| Failure::internal("making the operators' token", &error))?;
        write_private(&path, &signed.token)
            .map_err(|error| unusable("operators' token", &path, &error))?;
        Ok(path)
    }
}

/// Where the operators' token of this folder is.
pub fn operator_token_path(folder: &Path) -> PathBuf {
    folder.join("operator-token")
}

/// The key that this folder keeps, if it keeps one. The folder need not be held.
pub fn kept_token_key(folder: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let path = folder.join(TOKEN_KEY);
    let failed = |error: io::Error| unusable("token key", &path, &error);
    let key = match fs::read(&path) {
        Ok(key) => key,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if key.len() < KEY_BYTES_MIN {
        let why = format!(
            "it has {} bytes and needs {KEY_BYTES_MIN}: remove it, and a new one is made",
            key.len()
        );
        return Err(failed(io::Error::other(why)));
    }
    Ok(Some(key))
}

fn unusable(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Code::Configuration,
        format!("the {what} {} can't be used: {error}", path.display()),
    )
}

/// The file is there whole, or not at all, and only its owner can read it.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::auth::Keys;

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
    fn the_operators_token_is_private_and_made_anew_at_each_start() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataDir::take(folder.path()).unwrap();
        let runtime = Runtime::system();
        let tokens = |key: &[u8]| Tokens::new(Keys::new(key, None), runtime.clone());
        let (old, new) = (tokens(&[1; 32]), tokens(&[2; 32]));
        held.renew_operator_token(&old).unwrap();
        let path = held.renew_operator_token(&new).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let token = fs::read_to_string(&path).unwrap();
        assert_eq!(new.operator(&token).unwrap().role, Role::Admin);
        assert!(old.operator(&token).is_err());
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
