//! Requests byte by byte, as no well-behaved client would send them, and what comes back.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::mutate::Verdict;

/// No answer is longer: what was sent may be repeated in it.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What came back.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The head, with its status line, in lower case.
    pub head: String,
    /// As much of the body as was read.
    pub body: String,
}

impl Answered {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some(Self {
            status: head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        })
    }

    /// A request was taken, or it was the sender's mistake and is told as a problem. A mistake of HTTP itself is told by the status
    /// alone.
    pub fn judge(&self) -> Verdict {
        let is_problem =
            self.head.contains("application/problem+json") && self.body.contains("\"type\"");
        match self.status {
            // It waits for a body that it would take.
            100 => Ok(false),
            200..400 => Ok(true),
            400..500 if is_problem || self.body.is_empty() => Ok(false),
            _ => Err(format!(
                "{} {}",
                self.head,
                self.body.chars().take(500).collect::<String>()
            )),
        }
    }
}

/// What is sent, without its body's length.
pub struct Request<'a> {
    /// Such as `GET`.
    pub method: &'a str,
    /// The path, and the query.
    pub target: &'a [u8],
    /// Whole lines but for their ends.
    pub headers: Vec<Vec<u8>>,
    /// The body; without one there is no length.
    pub body: Option<&'a [u8]>,
}

impl Request<'_> {
    /// The bytes on the wire: a new line in a header or in the target would be another request, and is another test.
    pub fn bytes(&self) -> Vec<u8> {
        let one_line = |bytes: &[u8]| -> Vec<u8> {
            let is_end = |byte: &u8| *byte == b'\r' || *byte == b'\n';
            bytes
                .iter()
                .map(|byte| if is_end(byte) { b'~' } else { *byte })
                .collect()
        };
        let mut bytes = [
            self.method.as_bytes(),
            b" ",
            &one_line(self.target),
            b" HTTP/1.1\r\n",
        ]
        .concat();
        bytes.extend_from_slice(b"host: shop\r\nconnection: close\r\n");
        for header in &self.headers {
            bytes.extend(one_line(header));
            bytes.extend_from_slice(b"\r\n");
        }
        if let Some(body) = self.body {
            bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
            bytes.extend_from_slice(body);
        } else {
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }
}

/// A header line.
pub fn header(name: &str, value: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b": ", value].concat()
}

/// A header line with a token.
pub fn bearer(token: &str) -> Vec<u8> {
    header("authorization", format!("Bearer {token}").as_bytes())
}

/// Sends these bytes, and reads the answer to its end, or as far as its head. `None`: the connection was closed, or nothing came for
/// so long.
pub async fn exchange(address: &str, bytes: &[u8], patience: Duration) -> Option<Answered> {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server takes connections");
    // What is refused early is not read to its end.
    let _ = stream.write_all(bytes).await;
    let mut read = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while read.len() < ANSWER_BYTES_MAX {
        match timeout(patience, stream.read(&mut chunk)).await {
            Ok(Ok(count @ 1..)) => read.extend_from_slice(&chunk[..count]),
            _ => break,
        }
        if Answered::parse(&read).is_some_and(|so_far| so_far.head.contains("text/event-stream")) {
            break;
        }
    }
    Answered::parse(&read)
}
