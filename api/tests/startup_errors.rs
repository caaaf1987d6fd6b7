//! A start that can't succeed says in one sentence what to do, and exits with a code that scripts can tell apart.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;

use engine::store::change::ChangeKind;
use engine::store::{Change, ConnectOptions, Table, sqlite};
use engine::workflow::Refusal;

use crate::support::process::{ServeSettings, free_port, run};

/// `holdfast serve` with these variables fails with this code and this in its sentence.
async fn fails(data_dir: &Path, variables: &[(&str, &str)], code: i32, sentence: &str) {
    let data_dir = data_dir.display().to_string();
    let mut all = BTreeMap::from([
        ("HOLDFAST_DATA_DIR".to_owned(), data_dir),
        ("HOLDFAST_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        (
            "HOLDFAST_OPERATORS_LISTEN".to_owned(),
            "127.0.0.1:0".to_owned(),
        ),
        ("RUST_LOG".to_owned(), "off".to_owned()),
    ]);
    all.extend(
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    let output = run(&["serve"], &all).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    println!("{said}");
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(
        said.contains(sentence),
        "{said:?} does not say {sentence:?}"
    );
    assert_eq!(
        said.trim_end().lines().count(),
        1,
        "more than one line: {said}"
    );
    assert!(!said.contains("hunter2"), "a secret is shown: {said}");
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_flag_that_chooses_another() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let sentence = format!(
        "can't listen on {address}: it is in use; free it, or choose another address by --listen"
    );
    fails(
        folder.path(),
        &[("HOLDFAST_LISTEN", &address)],
        5,
        &sentence,
    )
    .await;
    fails(
        folder.path(),
        &[("HOLDFAST_OPERATORS_LISTEN", &address)],
        5,
        "--operators-listen",
    )
    .await;
}

#[tokio::test]
async fn a_data_directory_in_use_or_unusable_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    fails(
        folder.path(),
        &[],
        5,
        "is in use by another holdfast: stop that one, or choose another by --data-dir",
    )
    .await;
    drop(server);
    let file = tempfile::NamedTempFile::new().unwrap();
    fails(file.path(), &[], 2, "can't be used").await;
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let key = "0123456789abcdef0123456789abcdef";
    let database = ("DATABASE_URL", "mysql://root:hunter2@127.0.0.1:1/holdfast");
    let (redis, kafka) = (
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("KAFKA_BROKERS", "127.0.0.1:1"),
    );
    fails(
        folder.path(),
        &[database],
        2,
        "REDIS_URL and KAFKA_BROKERS is not set",
    )
    .await;
    fails(folder.path(), &[redis, kafka], 2, "DATABASE_URL is not set").await;
    fails(
        folder.path(),
        &[database, redis, kafka],
        2,
        "HOLDFAST_TOKEN_KEY is not set",
    )
    .await;
    fails(
        folder.path(),
        &[("HOLDFAST_TOKEN_KEY", "hunter2")],
        2,
        "HOLDFAST_TOKEN_KEY has 7 bytes",
    )
    .await;
    fails(
        folder.path(),
        &[("PG_URL", "nonsense")],
        2,
        "payment gateway's URL can't be read",
    )
    .await;
    let wrong = (
        "DATABASE_URL",
        "postgres://root:hunter2@127.0.0.1:1/holdfast",
    );
    let key = ("HOLDFAST_TOKEN_KEY", key);
    fails(
        folder.path(),
        &[wrong, redis, kafka, key],
        2,
        "mysql://user:password@host:3306/database",
    )
    .await;
}

#[tokio::test]
async fn an_unreachable_server_is_named_with_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let key = ("HOLDFAST_TOKEN_KEY", "0123456789abcdef0123456789abcdef");
    let nowhere = format!("127.0.0.1:{}", free_port());
    let database = format!("mysql://root:hunter2@{nowhere}/holdfast");
    let (redis, kafka) = (
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("KAFKA_BROKERS", "127.0.0.1:1"),
    );
    let sentence = format!("no database answers at {nowhere}");
    fails(
        folder.path(),
        &[("DATABASE_URL", &database), redis, kafka, key],
        3,
        &sentence,
    )
    .await;
}

#[tokio::test]
async fn a_schema_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().display().to_string();
    let migrated = run(&["migrate", "--data-dir", &data_dir], &BTreeMap::new()).await;
    let said = String::from_utf8_lossy(&migrated.stdout).into_owned();
    assert!(
        migrated.status.success() && said.contains("the schema is version"),
        "{migrated:?}"
    );
    let again = run(&["migrate", "--data-dir", &data_dir], &BTreeMap::new()).await;
    assert!(
        String::from_utf8_lossy(&again.stdout).contains("up to date"),
        "{again:?}"
    );

    a_later_program_migrates(&folder.path().join("holdfast.db")).await;
    fails(folder.path(), &[], 4, "the database's schema is version 99").await;
}

/// What a later version of the program would leave behind.
async fn a_later_program_migrates(path: &Path) {
    static VERSIONS: Table = Table {
        name: "schema_migrations",
        key: &["version"],
        columns: &["name", "checksum", "applied_at_us"],
    };
    let later = Change {
        table: &VERSIONS,
        key: vec![99.into()],
        kind: ChangeKind::Insert(vec!["later".into(), "unknown".into(), 1.into()]),
        refusal: Refusal::new("never", "never"),
    };
    let database = sqlite::open(path, &ConnectOptions::default())
        .await
        .expect("a database that can be written");
    database
        .transact("pretending to be a later program", &[later])
        .await
        .expect("a database that can be written");
}

#[tokio::test]
async fn wrong_usage_is_code_2() {
    for arguments in [
        &["serve", "--drain-timeout", "10"][..],
        &["serve", "--colour"],
        &["fly"],
        &["demo", "--buyers", "0"],
    ] {
        let output = run(arguments, &BTreeMap::new()).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
}

mod on_servers {
    //! What only a real server can refuse.

    use super::*;
    use crate::support::servers::Servers;

    #[tokio::test]
    async fn wrong_credentials_and_unreachable_servers_are_told_apart() {
        let Some(servers) = Servers::from_environment() else {
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let key = ("HOLDFAST_TOKEN_KEY", "0123456789abcdef0123456789abcdef");
        let mut wrong = reqwest::Url::parse(&servers.database_url).unwrap();
        wrong.set_username("nobody").unwrap();
        wrong.set_password(Some("hunter2")).unwrap();
        let nowhere = format!("127.0.0.1:{}", free_port());
        let redis_nowhere = format!("redis://{nowhere}");
        let (database, redis) = (
            ("DATABASE_URL", &*servers.database_url),
            ("REDIS_URL", &*servers.redis_url),
        );
        let kafka = ("KAFKA_BROKERS", &*servers.kafka_brokers);
        fails(
            folder.path(),
            &[("DATABASE_URL", wrong.as_str()), redis, kafka, key],
            3,
            "refuses user `nobody`",
        )
        .await;
        let sentence = format!("Redis does not answer at {nowhere}");
        fails(
            folder.path(),
            &[database, ("REDIS_URL", &redis_nowhere), kafka, key],
            3,
            &sentence,
        )
        .await;
        let sentence = format!("Kafka does not answer at {nowhere}");
        fails(
            folder.path(),
            &[database, redis, ("KAFKA_BROKERS", &nowhere), key],
            3,
            &sentence,
        )
        .await;
    }
}
