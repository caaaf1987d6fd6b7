//! What tests do on a busy machine: they wait longer than anything takes, and ask again where an answer was lost.

use std::time::Duration;

use workflows::ports::reservations::ReservationError;

/// Whatever is waited for is there by then, or something is wrong.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Between two looks, or two attempts.
pub const PAUSE: Duration = Duration::from_millis(20);

/// The answer to a call. A machine that stands still for longer than the adapter's time-out leaves one unknown: then the call is
/// repeated, as the engine does it, and gets the answer of its first copy.
pub async fn answer<T, F>(call: impl Fn() -> F) -> Result<T, ReservationError>
where
    F: Future<Output = Result<T, ReservationError>>,
{
    let begun = tokio::time::Instant::now();
    loop {
        match call().await {
            Err(ReservationError::MaybeSent(cause) | ReservationError::NotSent(cause))
                if begun.elapsed() < PATIENCE =>
            {
                println!("asked again: {cause}");
                tokio::time::sleep(PAUSE).await;
            }
            answered => return answered,
        }
    }
}
