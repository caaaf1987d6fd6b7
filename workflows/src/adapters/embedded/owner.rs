//! The thread that owns the interpreter: scripts run one after the other, as they do in Redis.

use std::io;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::adapters::scripts::{Call, Reply};
use crate::ports::reservations::ReservationError;

use super::interpreter::Interpreter;
use super::keyspace::Dump;

/// Calls that may wait; one more is refused.
const QUEUE_LENGTH_MAX: usize = 8_192;

enum Job {
    Run(Call, oneshot::Sender<Reply>),
    Dump(oneshot::Sender<Dump>),
}

#[derive(Debug)]
pub struct Owner {
    /// `None` only while it is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Owner {
    pub fn start(mut interpreter: Interpreter) -> io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel(QUEUE_LENGTH_MAX);
        let work = move || {
            while let Some(job) = queue.blocking_recv() {
                // Whoever asked may be gone: then nobody wants the answer.
                match job {
                    Job::Run(call, answer) => {
                        let _ = answer.send(interpreter.run(&call));
                    }
                    Job::Dump(answer) => {
                        let _ = answer.send(interpreter.dump());
                    }
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("reservations".to_owned())
            .spawn(work)?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    pub async fn run(&self, call: Call) -> Result<Reply, ReservationError> {
        let (sender, answer) = oneshot::channel();
        self.submit(Job::Run(call, sender))?;
        answer
            .await
            .map_err(|lost| ReservationError::MaybeSent(lost.into()))
    }

    pub async fn dump(&self) -> Result<Dump, ReservationError> {
        let (sender, answer) = oneshot::channel();
        self.submit(Job::Dump(sender))?;
        answer
            .await
            .map_err(|lost| ReservationError::MaybeSent(lost.into()))
    }

    fn submit(&self, job: Job) -> Result<(), ReservationError> {
        let jobs = self
            .jobs
            .as_ref()
            .ok_or_else(|| ReservationError::NotSent("closed".into()))?;
        jobs.try_send(job).map_err(|refused| {
            ReservationError::NotSent(match refused {
                mpsc::error::TrySendError::Full(_) => {
                    "the queue of reservation calls is full".into()
                }
                mpsc::error::TrySendError::Closed(_) => "the reservations' thread has ended".into(),
            })
        })
    }
}

impl Drop for Owner {
    /// Lets the thread finish what is queued, and waits for its end: milliseconds.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Its panic was reported when it happened.
            let _ = thread.join();
        }
    }
}
