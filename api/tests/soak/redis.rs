//! Redis forgets: all of it, its scripts, all of it with its life, or what was written since some moment.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::pace::Dice;
use super::tally::Counted;
use crate::support::servers::OwnServer;

/// The file that `SAVE` writes, and that a server reads when it starts.
const DUMP: &str = "dump.rdb";
/// Something is written after a `SAVE` within this time, or nobody buys.
const NEWER_WITHIN: Duration = Duration::from_secs(10);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Forgets in this way. Whether there was anything to forget.
pub async fn forgets(redis: &mut OwnServer, way: Counted, dice: &Dice) -> bool {
    let address = redis.address();
    match way {
        Counted::RedisFlushed => {
            let keys = keys(&address).await;
            let said = ask(&address, "FLUSHALL").await;
            said == "OK" && keys > 0
        }
        Counted::RedisScriptsFlushed => {
            let scripts = figure(&address, "memory", "number_of_cached_scripts").await;
            let said = ask(&address, "SCRIPT FLUSH").await;
            said == "OK" && scripts > 0
        }
        Counted::RedisRestartedEmpty => {
            let keys_before = keys(&address).await;
            redis.kill().await;
            if let Err(error) = std::fs::remove_file(redis.data().join(DUMP)) {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
            }
            redis.start_again().await;
            keys_before > 0
        }
        Counted::RedisRestartedOlder => {
            assert_eq!(ask(&address, "SAVE").await, "OK");
            let saved = keys(&address).await;
            sleep(dice.between_ms(500, 4_000)).await;
            let newer = async {
                while figure(&address, "persistence", "rdb_changes_since_last_save").await == 0 {
                    sleep(LOOK).await;
                }
            };
            let is_older = timeout(NEWER_WITHIN, newer).await.is_ok();
            redis.kill().await;
            redis.start_again().await;
            saved > 0 && is_older
        }
        other => panic!("{other:?} is no way in which Redis forgets"),
    }
}

async fn keys(address: &str) -> u64 {
    let said = ask(address, "DBSIZE").await;
    said.parse().unwrap_or_else(|_| panic!("DBSIZE: {said}"))
}

/// A number that `INFO` tells.
async fn figure(address: &str, section: &str, name: &str) -> u64 {
    let said = ask(address, &format!("INFO {section}")).await;
    let value = said.lines().find_map(|line| {
        let (found, value) = line.trim_end().split_once(':')?;
        (found == name).then(|| value.parse().ok()).flatten()
    });
    value.unwrap_or_else(|| panic!("INFO {section} tells no {name}: {said}"))
}

/// What the server answers to a command: a line, a number or a text.
async fn ask(address: &str, command: &str) -> String {
    let mut connection = TcpStream::connect(address).await.expect("redis is there");
    let command = format!("{command}\r\n");
    connection
        .write_all(command.as_bytes())
        .await
        .expect("it takes commands");
    let mut answer = BufReader::new(connection);
    let mut line = String::new();
    answer.read_line(&mut line).await.expect("it answers");
    let (kind, rest) = line.trim_end().split_at(1);
    if kind != "$" {
        return rest.to_owned();
    }
    let mut text = vec![0; rest.parse().expect("a length")];
    answer.read_exact(&mut text).await.expect("it answers");
    String::from_utf8(text).expect("UTF-8")
}
