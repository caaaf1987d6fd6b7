//! How far a state is. Every step must bring it further, so that no run is endless and each comes to a state in which nothing
//! goes on: what holds there holds in the end of every run, without a word about fairness.

use super::state::{Driver, Effect, Stage, State, Writer, small};

/// Compared from left to right: faults used up, epochs, sessions given up, the lease going where it must, and work done.
pub type Progress = (u8, u8, u8, bool, u32);

pub fn progress(state: &State) -> Progress {
    let partition = &state.partition;
    let owner = partition.owner.map(usize::from);
    let owner_lives = owner.is_some_and(|owner| state.is_current(owner));
    (
        state.faults,
        partition.epoch,
        u8::MAX - small(state.sessions().count()),
        partition.held == owner_lives,
        work(state),
    )
}

fn work(state: &State) -> u32 {
    let journal = &state.journal;
    let in_database = u32::from(journal.opened) + u32::from(journal.batch);
    let watermark = u32::from(journal.published);
    let events = 100 * state.events.len() + state.topic.len() + 100 - state.late.len();
    let outside = state.outside.iter().map(|outside| {
        u32::from(outside.effect != Effect::None)
            + u32::from(outside.effect == Effect::Undone)
            + 10 * u32::from(outside.acknowledged)
    });
    let sessions = state.sessions().map(|session| {
        let how_far = match session.stage {
            Stage::Taken => 0,
            Stage::Open => 1,
            Stage::Recovered => 40,
        };
        let writer = match session.writer {
            Writer::MayBeWritten(_) => 0,
            Writer::Again(_) => 2,
            Writer::Ready => 20,
        };
        let drivers = session.drivers.iter().zip(&state.outside);
        let drivers = drivers.map(|(driver, outside)| match driver {
            Driver::Absent if outside.acknowledged => 2,
            Driver::Absent => 0,
            Driver::Starting => 1,
            Driver::Driven { next: None, .. } => 2,
            Driver::Driven { next: Some(_), .. } => 3,
        });
        let counts = session.batch + session.published + session.watermark + session.last_seq;
        how_far + writer + u32::from(counts) + drivers.sum::<u32>()
    });
    let events = u32::try_from(events).expect("models are small");
    in_database + watermark + events + outside.sum::<u32>() + sessions.sum::<u32>()
}
