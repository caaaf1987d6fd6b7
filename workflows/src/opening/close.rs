//! Step `close`: records that the sale has closed, if its schedule still is the one that was waited for.

use engine::definition::{Action, Attempt, Awaited, Outcome, Policy};

use super::record::{self, Moment, Recorder};
use super::{OpeningInput, Recorded, Superseded, was_told};

/// The step.
pub struct Close(pub Recorder);

impl Action for Close {
    type Input = (OpeningInput, Recorded, Awaited<Superseded>);
    type Output = Recorded;

    fn name(&self) -> &str {
        Moment::Closing.step()
    }

    fn policy(&self) -> Policy {
        record::policy()
    }

    async fn act(
        &self,
        attempt: &Attempt,
        (input, opened, changed): (OpeningInput, Recorded, Awaited<Superseded>),
    ) -> Outcome<Recorded> {
        if opened == Recorded::Superseded || was_told(&changed) {
            return Outcome::done(Recorded::Superseded);
        }
        self.0.record(attempt, &input, Moment::Closing).await
    }
}
