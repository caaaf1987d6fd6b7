//! Step `open`: records that the sale has opened, if its schedule still is the one that was waited for.

use engine::definition::{Action, Attempt, Awaited, Outcome, Policy};

use super::record::{self, Moment, Recorder};
use super::{OpeningInput, Recorded, Superseded, was_told};

/// The step.
pub struct Open(pub Recorder);

impl Action for Open {
    type Input = (OpeningInput, Awaited<Superseded>);
    type Output = Recorded;

    fn name(&self) -> &str {
        Moment::Opening.step()
    }

    fn policy(&self) -> Policy {
        record::policy()
    }

    async fn act(
        &self,
        attempt: &Attempt,
        (input, changed): (OpeningInput, Awaited<Superseded>),
    ) -> Outcome<Recorded> {
        if was_told(&changed) {
            return Outcome::done(Recorded::Superseded);
        }
        self.0.record(attempt, &input, Moment::Opening).await
    }
}
