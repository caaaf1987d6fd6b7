//! What stands in the inbox and in the table of batches, and the names by which workflows are asked for.

use engine::WorkflowId;
use engine::command::Verb;
use engine::store::upkeep::{NORMALISED_BYTES_MAX, normalised};
use engine::store::{ListFilter, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::mutate::{Target, Verdict};
use crate::support::untyped::{build, diamond};

/// What is read, written and read again is the same.
fn survives<T: Serialize + DeserializeOwned + PartialEq>(
    bytes: &[u8],
) -> Result<Option<T>, String> {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else {
        return Ok(None);
    };
    let text = serde_json::to_string(&value).map_err(|error| format!("not written: {error}"))?;
    match serde_json::from_str::<T>(&text) {
        Ok(again) if again == value => Ok(Some(value)),
        _ => Err(format!("another value when it is read again: {text}")),
    }
}

#[test]
fn a_command_of_the_inbox_is_read_as_it_was_written_or_refused() {
    let definition = build(diamond()).expect("a definition");
    let words = [
        "\"verb\"",
        "\"with\"",
        "\"skip\"",
        "\"resolve\"",
        "\"signal\"",
        "\"undone\"",
        "\"b\"",
    ];
    Target::new("verb", &words).fuzz(|bytes| {
        let Some(verb) = survives::<Verb>(bytes)? else {
            return Ok(false);
        };
        if let Err(why) = verb.check(&definition)
            && !why.contains(verb.step().unwrap_or_default())
        {
            return Err(format!("it does not say which step: {why}"));
        }
        Ok(true)
    });
}

#[test]
fn the_filter_of_a_batch_is_read_as_it_was_written_or_refused() {
    let words = ["\"after\"", "\"ident\"", "\"ABANDONED\"", "256", "65536"];
    let check = |bytes: &[u8]| Ok(survives::<ListFilter>(bytes)?.is_some());
    Target::new("filter", &words).fuzz(check);
}

fn check_name(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(false);
    };
    if let Some(status) = Status::parse(text) {
        return if status.as_str() == text {
            Ok(true)
        } else {
            Err("another status".to_owned())
        };
    }
    let Some(id) = WorkflowId::parse(text) else {
        return Ok(false);
    };
    let same = WorkflowId::parse(&id.to_string()) == Some(id)
        && WorkflowId::from_bytes(*id.bytes()) == id
        && id.to_string().len() == 36;
    if same {
        Ok(true)
    } else {
        Err(format!("{id} is another"))
    }
}

#[test]
fn a_name_of_a_workflow_or_a_status_is_the_same_written_again_or_none() {
    let words = ["-", "{", "}", "urn:uuid:", "RUNNING", "8000"];
    Target::new("name", &words).fuzz(check_name);
}

#[test]
fn whatever_an_error_says_it_is_shown_in_a_few_bytes() {
    Target::new("message", &["\u{1f600}", "a-1", " "]).fuzz(|bytes| {
        let shown = normalised(&String::from_utf8_lossy(bytes));
        if shown.len() > NORMALISED_BYTES_MAX {
            return Err(format!("{} bytes", shown.len()));
        }
        Ok(true)
    });
}
