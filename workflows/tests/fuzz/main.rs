//! What outsiders send to the shop (the gateway, Redis, buyers, operators) is understood or refused: never a panic, never something
//! other than was said, and never an error that is as long as what was sent.

#[path = "../../../engine/tests/fuzz/mutate.rs"]
mod mutate;

mod buyers;
mod gateway;
mod replies;
mod seeds;
mod web_address;
mod webhooks;

use engine::workflow::StepError;
use engine::workflow::event::{MESSAGE_CHARS_MAX, with_causes};

/// What goes into the journal of this error is a short text, whatever was sent.
fn short(error: &(dyn std::error::Error + 'static)) -> Result<(), String> {
    let text = with_causes(error);
    let kept = StepError::caused_by("a-class", error).message;
    let chars = kept.chars().count();
    if text.is_empty() || chars > MESSAGE_CHARS_MAX {
        return Err(format!(
            "an error of {} characters, of which {chars} are kept",
            text.len()
        ));
    }
    Ok(())
}
