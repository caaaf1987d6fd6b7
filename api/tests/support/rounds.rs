//! Claims about time on a machine that does other things as well: made in rounds, and broken when no round keeps them. What is wrong
//! at any time is wrong in each round.

use std::time::Duration;

use engine::{Runtime, Timestamp};

/// Rounds of a claim, at most.
pub const ROUNDS: u32 = 5;

/// Goes on until a round keeps the claim. A round that does not, or that came too late to say anything, says so; one that sees
/// something wrong panics.
pub async fn kept_in_one_round(claim: &str, mut round: impl AsyncFnMut(u32) -> Result<(), String>) {
    let mut broken = Vec::new();
    for number in 0..ROUNDS {
        match round(number).await {
            Ok(()) => return,
            Err(why) => {
                println!("{claim}, round {number}: {why}");
                broken.push(why);
            }
        }
    }
    panic!("{claim}: not in {ROUNDS} rounds: {broken:#?}");
}

/// The error of a round in which something took longer than it may.
pub fn within(what: &str, took: Duration, max: Duration) -> Result<(), String> {
    println!("{what}: {took:.1?}");
    if took <= max {
        Ok(())
    } else {
        Err(format!("{what}: {took:.1?}, and at most {max:?}"))
    }
}

/// The present instant.
pub fn now() -> Timestamp {
    Runtime::system().now()
}

/// An instant that is far enough away for what is to be done before it, to the millisecond, as gates go. In later rounds it is
/// farther: who was too late in one of them has more time in the next.
pub fn in_a_while(first: Duration, round: u32) -> Timestamp {
    let whole_ms = Timestamp(now().0 / 1_000 * 1_000);
    whole_ms.after(first * 2_u32.pow(round))
}

/// The error of a round whose instant came before everything was done that belongs before it.
pub fn still_before(instant: Timestamp) -> Result<(), String> {
    if now() < instant {
        Ok(())
    } else {
        Err("the instant came before all was ready for it".to_owned())
    }
}

/// In RFC 3339.
pub fn rfc3339(instant: Timestamp) -> String {
    let instant = jiff::Timestamp::from_microsecond(instant.0);
    instant.expect("a time").to_string()
}

/// What RFC 3339 says.
pub fn instant_of(text: &str) -> Timestamp {
    let instant: jiff::Timestamp = text.parse().expect("RFC 3339");
    Timestamp(instant.as_microsecond())
}

/// The value that so many of 100 are not above; of none, panics.
pub fn percentile(mut durations: Vec<Duration>, percent: usize) -> Duration {
    durations.sort_unstable();
    let place = durations.len() * percent / 100;
    durations[place.min(durations.len() - 1)]
}
