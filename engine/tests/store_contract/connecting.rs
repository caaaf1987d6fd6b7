//! What a person is told when a database can't be used.

use engine::store::{ConnectError, ConnectOptions, mysql, sqlite};
use tokio::net::TcpSocket;

use crate::harness::{drop_database, mysql_url};

async fn refused(url: &str) -> ConnectError {
    let connected = mysql::connect(url, &ConnectOptions::default()).await;
    connected.err().expect("it can't be connected to")
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_its_address() {
    // Bound, so that nobody else gets the port, and never listening: whoever connects is refused.
    let bound = TcpSocket::new_v4().expect("a socket");
    let any = "127.0.0.1:0".parse().expect("an address");
    bound.bind(any).expect("a free port");
    let address = bound.local_addr().expect("bound").to_string();
    let error = refused(&format!("mysql://root:secret@{address}/holdfast")).await;
    assert!(
        matches!(&error, ConnectError::Unreachable { .. }),
        "{error}"
    );
    let told = error.to_string();
    assert!(
        told.contains(&address) && !told.contains("secret"),
        "{told}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it() {
    let Some(url) = mysql_url() else { return };
    let (_, rest) = url.rsplit_once('@').expect("names a user");
    let error = refused(&format!("mysql://nobody:secret@{rest}")).await;
    assert!(
        matches!(&error, ConnectError::AccessDenied { user, .. } if user == "nobody"),
        "{error}"
    );
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_missing_database_is_made() {
    let Some(url) = mysql_url() else { return };
    let made = mysql::connect(&url, &ConnectOptions::default())
        .await
        .map(|_| ());
    drop_database(&url).await;
    made.expect("made and connected");
}

#[tokio::test]
async fn a_url_without_a_database_is_told() {
    let error = refused("mysql://root@127.0.0.1:3306").await;
    assert!(matches!(error, ConnectError::BadUrl { .. }), "{error}");
}

#[tokio::test]
async fn a_file_in_use_is_told_and_free_again_afterwards() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("holdfast.db");
    let options = ConnectOptions::default();
    let first = sqlite::open(&path, &options).await.expect("opened");
    let error = sqlite::open(&path, &options).await.err().expect("in use");
    assert!(matches!(error, ConnectError::InUse { .. }), "{error}");
    drop(first);
    sqlite::open(&path, &options).await.expect("free again");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("missing").join("holdfast.db");
    let error = sqlite::open(&path, &ConnectOptions::default())
        .await
        .err()
        .expect("no folder");
    assert!(matches!(error, ConnectError::File { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("holdfast.db");
    std::fs::write(&path, "a shopping list, not a database".repeat(100)).expect("written");
    let error = sqlite::open(&path, &ConnectOptions::default())
        .await
        .err()
        .expect("no database");
    assert!(matches!(error, ConnectError::File { .. }), "{error}");
}
