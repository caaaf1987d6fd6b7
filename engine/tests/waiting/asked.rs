//! What may have had its effect is asked about before anything else: the other side need not know a repeat.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use engine::definition::{Action, Attempt, Outcome, Probed, Saga};
use engine::store::Status;
use engine::workflow::StepError;

use crate::harness;
use crate::support::status;

/// A transfer by a bank that knows no keys: what is asked for twice is done twice. Its answers are lost.
struct Transfer {
    made: Arc<AtomicU32>,
}

impl Action for Transfer {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &'static str {
        "transfer"
    }

    async fn act(&self, _: &Attempt, _: u32) -> Outcome<u32> {
        self.made.fetch_add(1, Ordering::Relaxed);
        Outcome::Unknown(StepError::new("connection-reset", "the answer is lost"))
    }

    async fn probe(&self, _: &Attempt, _: u32) -> Probed<u32> {
        match self.made.load(Ordering::Relaxed) {
            0 => Probed::NoEffect,
            made => Probed::Done {
                output: made,
                changes: Vec::new(),
            },
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_done_is_asked_about_and_not_done_again() {
    let mut harness = harness();
    let made = Arc::new(AtomicU32::new(0));
    let transfer = Transfer {
        made: Arc::clone(&made),
    };
    let saga = Saga::<u32>::new("transfer", 1);
    let input = saga.input();
    let (saga, transferred) = saga.pivot(transfer, &input);
    harness.definition = Arc::new(saga.finish(&transferred).unwrap());
    let engine = harness.open().await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(status(&view), (Status::Completed, None));
    assert_eq!(made.load(Ordering::Relaxed), 1);
}
