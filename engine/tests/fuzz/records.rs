//! One row of the journal.

use engine::Payload;
use engine::workflow::Record;
use serde_json::Value;

use crate::mutate::{Target, Verdict};

/// Words of the stored form.
pub const WORDS: [&str; 16] = [
    "\"type\"",
    "\"data\"",
    "\"starts\"",
    "\"ends\"",
    "\"completed\"",
    "\"step-done\"",
    "\"started\"",
    "\"signal-received\"",
    "\"deadline-passed\"",
    "\"retry_at\"",
    "\"turn_back\"",
    "\"undone\"",
    "\"backward\"",
    "\"pivot\"",
    "\"nobody\"",
    "\"until\":1",
];

/// The record in these bytes, read as stores read it.
pub fn read(bytes: &[u8]) -> Option<Record> {
    serde_json::from_str(std::str::from_utf8(bytes).ok()?).ok()
}

fn check(bytes: &[u8]) -> Verdict {
    let Some(record) = read(bytes) else {
        return Ok(false);
    };
    let text = serde_json::to_string(&record).map_err(|error| format!("not written: {error}"))?;
    if text.len() > bytes.len() + 256 {
        return Err(format!("{} bytes became {}", bytes.len(), text.len()));
    }
    if read(text.as_bytes()) != Some(record.clone()) {
        return Err(format!("another record when it is read again: {text}"));
    }
    if record.kind().is_empty() || record.event.kind().is_empty() {
        return Err("it has no type".to_owned());
    }
    Ok(true)
}

#[test]
fn a_row_of_the_journal_is_read_as_it_was_written_or_refused() {
    Target::new("record", &WORDS).fuzz(check);
}

#[test]
fn a_payload_is_kept_however_deep_it_is_and_read_only_as_deep_as_the_stack_bears() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let payload: Payload = serde_json::from_str(&deep).expect("raw JSON");
        assert_eq!(payload.as_str(), deep);
        assert!(payload.to::<Value>().is_err(), "as deep as the stack bears");
        assert!(
            Payload::of(&payload).is_err(),
            "longer than a payload may be"
        );
    }
}
