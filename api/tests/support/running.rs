//! A program that keeps running: listened to, spoken to by signals, and never left behind.

use std::io::Write as _;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::eventually;

/// What a process has printed so far.
type Lines = Arc<Mutex<Vec<String>>>;

/// A program that keeps running.
pub struct Running {
    child: Child,
    out: Lines,
    err: Lines,
    readers: JoinSet<()>,
}

impl Running {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (out, err) = (Lines::default(), Lines::default());
        let mut readers = JoinSet::new();
        readers.spawn(collect(
            child.stdout.take().expect("a pipe"),
            Arc::clone(&out),
        ));
        readers.spawn(collect(
            child.stderr.take().expect("a pipe"),
            Arc::clone(&err),
        ));
        Self {
            child,
            out,
            err,
            readers,
        }
    }

    /// The rest of the line that begins with `prefix`, once it is printed. Panics with everything that was printed when
    /// the process ends before.
    pub async fn line(&mut self, prefix: &str) -> String {
        self.line_in(prefix, &Arc::clone(&self.out)).await
    }

    /// Like [`Running::line`], on standard error.
    pub async fn line_of_errors(&mut self, prefix: &str) -> String {
        self.line_in(prefix, &Arc::clone(&self.err)).await
    }

    async fn line_in(&mut self, prefix: &str, lines: &Lines) -> String {
        let what = format!("a line that begins with {prefix:?}");
        let (out, err) = (Arc::clone(&self.out), Arc::clone(&self.err));
        let child = &mut self.child;
        eventually(&what, || {
            let found = rest_of_line(lines, prefix);
            let ended = child.try_wait().expect("a process").is_some();
            assert!(
                found.is_some() || !ended,
                "the process ended before {what}\n{}\n{}",
                shown(&out),
                shown(&err)
            );
            async { found }
        })
        .await
    }

    /// Sends a signal, such as `TERM`.
    pub async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("the process runs").to_string();
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(id)
            .status()
            .await
            .expect("kill is there");
        assert!(sent.success(), "the process can be signalled");
    }

    /// Like [`Running::signal`], of a process that may have ended.
    pub async fn try_signal(&self, signal: &str) {
        if self.child.id().is_some() {
            self.signal(signal).await;
        }
    }

    /// How it ended, once it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a process")
    }

    /// Waits until everything that it ever said is heard: it has ended.
    pub async fn last_words(&mut self) {
        while self.readers.join_next().await.is_some() {}
    }

    /// Whether it is frozen by a signal (`proc_pid_stat(5)`, field 3).
    pub fn is_stopped(&self) -> bool {
        let Some(id) = self.child.id() else {
            return false;
        };
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// Whether a line of its standard error, so far, is this.
    pub fn has_said(&self, line: &str) -> bool {
        let lines = self.err.lock().expect("nobody panics with it");
        lines.iter().any(|said| said == line)
    }

    /// Whether it has said, as a node does, where buyers are served.
    pub fn serves(&self) -> bool {
        rest_of_line(&self.out, "buyers ").is_some()
    }

    /// Everything on its standard error so far.
    pub fn said(&self) -> String {
        shown(&self.err)
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// `kill -9`, and the end of it.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the process can be killed");
    }

    /// Waits for the end.
    pub async fn ended(mut self, limit: Duration) -> (ExitStatus, String) {
        let status = timeout(limit, self.child.wait()).await;
        let status = status
            .unwrap_or_else(|_| panic!("it did not end within {limit:?}\n{}", shown(&self.err)));
        while self.readers.join_next().await.is_some() {}
        (status.expect("a process"), shown(&self.err))
    }
}

fn rest_of_line(lines: &Lines, prefix: &str) -> Option<String> {
    let lines = lines.lock().expect("nobody panics with it");
    lines
        .iter()
        .find_map(|line| line.strip_prefix(prefix).map(|rest| rest.trim().to_owned()))
}

fn shown(lines: &Lines) -> String {
    lines.lock().expect("nobody panics with it").join("\n")
}

async fn collect(pipe: impl AsyncRead + Unpin, lines: Lines) {
    let mut reader = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = reader.next_line().await {
        // Past what is kept back of a test: `make mutants` listens for it.
        if line.starts_with("planted defect: ") {
            let _unheard = writeln!(std::io::stderr(), "{line}");
        }
        lines.lock().expect("nobody panics with it").push(line);
    }
}
