//! The opening in the engine's kit: whatever goes wrong with its steps and its waits, a sale whose schedule stays is recorded to have
//! opened and closed, or, where the row refuses, nothing more happens.

use std::time::Duration;

use engine::definition::Definition;
use engine::testing::kit::{Ending, Kit, World};
use engine::{Payload, Runtime};
use workflows::opening::{
    self, CLOSING_CHANGED, OPENING_CHANGED, OpeningInput, Recorded, Superseded,
};
use workflows::ports::catalogue::Catalogue as _;

use crate::support::{Disposable, catalogue, sale_id, seed, sqlite};

/// A sale `drop` that opens a minute after the world begins.
struct Stage {
    runtime: Runtime,
    disposable: Disposable,
    input: OpeningInput,
    is_superseded: bool,
}

impl Stage {
    async fn set(runtime: Runtime, is_superseded: bool) -> Self {
        let disposable = sqlite().await;
        let opens_at = runtime.now().after(Duration::from_mins(1));
        let closes_at = opens_at.after(Duration::from_mins(5));
        let catalogue = catalogue(&disposable.database, &runtime);
        catalogue
            .seed(&seed("drop", opens_at, closes_at))
            .await
            .unwrap();
        Self {
            runtime,
            disposable,
            input: OpeningInput {
                sale: sale_id("drop"),
                revision: 1,
                opens_at,
                closes_at,
            },
            is_superseded,
        }
    }
}

impl World for Stage {
    fn definition(&self) -> Definition {
        opening::definition(&self.disposable.database, &self.runtime).unwrap()
    }

    fn input(&self) -> Payload {
        Payload::of(&self.input).unwrap()
    }

    /// It has no effect but its rows, which are the kit's business.
    async fn clean(&self) -> Result<(), String> {
        Ok(())
    }

    async fn complete(&self, ending: &Ending) -> Result<(), String> {
        let output = ending.output.as_ref().ok_or("no output")?;
        match output.to().map_err(|error| error.to_string())? {
            Recorded::Recorded { at, .. } if at >= self.input.closes_at => Ok(()),
            Recorded::Superseded if self.is_superseded => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    fn signals(&self) -> Vec<(&'static str, Payload)> {
        let payload = || Payload::of(&Superseded { revision: 2 }).unwrap();
        let all = [OPENING_CHANGED, CLOSING_CHANGED].map(|wait| (wait, payload()));
        all.into_iter().filter(|_| self.is_superseded).collect()
    }
}

#[test]
fn an_opening_is_recorded_whatever_goes_wrong() {
    let report = Kit::new(|runtime| Stage::set(runtime, false)).run();
    report.assert_passed();
    println!("{report}");
}

#[test]
fn an_opening_that_is_superseded_ends_whatever_goes_wrong() {
    let report = Kit::new(|runtime| Stage::set(runtime, true)).run();
    report.assert_passed();
    println!("{report}");
}
