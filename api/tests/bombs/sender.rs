//! Somebody who sends more than anybody asked for, without end, or nearly nothing for very long.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::PATIENCE;

/// What became of it: the status that was answered, or 0 when the connection was closed without one.
pub type Ended = u16;

/// A request's head.
pub fn head(method: &str, target: &str, headers: &[&str]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: shop\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Sends the head and then this again and again, up to so many bytes, while it reads what comes; for a bounded time.
pub async fn flood(address: &str, head: &[u8], again: &[u8], bytes_max: usize) -> Ended {
    let mut stream = connect(address).await;
    let (mut reading, mut writing) = stream.split();
    let send = async {
        if writing.write_all(head).await.is_err() {
            return;
        }
        let mut sent = 0;
        while sent < bytes_max && !again.is_empty() && writing.write_all(again).await.is_ok() {
            sent += again.len();
        }
    };
    let answer = async {
        let mut answer = Vec::new();
        let mut chunk = [0; 1_024];
        loop {
            match reading.read(&mut chunk).await {
                Ok(count @ 1..) if status(&answer).is_none() => {
                    answer.extend_from_slice(&chunk[..count]);
                }
                Ok(1..) => {}
                _ => break,
            }
            if status(&answer).is_some_and(|status| status >= 200) {
                break;
            }
        }
        answer
    };
    let both = async {
        tokio::pin!(send, answer);
        tokio::select! {
            answer = &mut answer => answer,
            () = &mut send => answer.await,
        }
    };
    let answer = timeout(PATIENCE, both)
        .await
        .expect("it is answered or closed in time");
    // It was asked for more, and cut off.
    status(&answer).filter(|status| *status >= 200).unwrap_or(0)
}

/// Many of these at the same time.
pub async fn floods(
    count: usize,
    address: &str,
    head: &[u8],
    again: &[u8],
    bytes_max: usize,
) -> Vec<Ended> {
    join_all((0..count).map(|_| flood(address, head, again, bytes_max))).await
}

/// So many connections that have sent this and nothing since.
pub async fn stuck(count: usize, address: &str, sent: &[u8]) -> Vec<TcpStream> {
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let more = 100.min(count - open.len());
        let opened = (0..more).map(|_| async {
            let mut stream = connect(address).await;
            let _ = timeout(Duration::from_secs(5), stream.write_all(sent)).await;
            stream
        });
        open.extend(join_all(opened).await);
    }
    open
}

/// How each of them ends, within the patience of a test.
pub async fn endings(streams: Vec<TcpStream>) -> Vec<Ended> {
    let ending = |mut stream: TcpStream| async move {
        let mut answer = Vec::new();
        let mut chunk = [0; 1_024];
        let read = async {
            while let Ok(count @ 1..) = stream.read(&mut chunk).await {
                answer.extend_from_slice(&chunk[..count]);
                answer.truncate(4_096);
            }
        };
        timeout(PATIENCE, read).await.expect("it is closed in time");
        status(&answer).unwrap_or(0)
    };
    join_all(streams.into_iter().map(ending)).await
}

pub async fn connect(address: &str) -> TcpStream {
    let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
    connected.expect("in time").expect("a connection")
}

/// The last status of what was read so far.
fn status(answer: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(answer);
    let line = text
        .rsplit("HTTP/1.1 ")
        .next()
        .filter(|_| text.starts_with("HTTP/1.1 "))?;
    line.get(..3)?.parse().ok()
}

/// How often each status came.
pub fn tally(ended: &[Ended]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for status in ended {
        *counts.entry(*status).or_insert(0_usize) += 1;
    }
    let words = counts.iter().map(|(status, count)| match status {
        0 => format!("{count} closed"),
        status => format!("{count} x {status}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Each was turned away, by one of these statuses or by closing.
pub fn turned_away(name: &str, ended: &[Ended], statuses: &[u16]) {
    println!("{name}: {}", tally(ended));
    for status in ended {
        assert!(
            *status == 0 || statuses.contains(status),
            "{name}: {status}"
        );
    }
}
