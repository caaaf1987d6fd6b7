//! Answers of the operators' API, for people.

use std::fmt::Write as _;

use serde_json::Value;

/// A value in a line: text as it is, nothing as nothing.
pub fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Rows under their headings, each column as wide as its widest entry; each heading comes with a JSON pointer into a row.
pub fn table(rows: &Value, columns: &[(&str, &str)]) -> String {
    let mut lines: Vec<Vec<String>> = vec![];
    lines.push(columns.iter().map(|(name, _)| (*name).to_owned()).collect());
    for row in items(rows) {
        let cell = |(_, pointer): &(&str, &str)| row.pointer(pointer).map(word).unwrap_or_default();
        lines.push(columns.iter().map(cell).collect());
    }
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        push_line(&mut out, cells.join("  ").trim_end());
    }
    out
}

fn items(rows: &Value) -> &[Value] {
    rows.as_array().map_or(&[], Vec::as_slice)
}

fn push_line(out: &mut String, line: &str) {
    writeln!(out, "{line}").expect("a String takes all");
}

/// The members of an answer that are there, one a line; each name comes with a JSON pointer.
fn members(answer: &Value, names: &[(&str, &str)]) -> String {
    let width = names.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, pointer) in names {
        let value = answer.pointer(pointer).map(word).unwrap_or_default();
        if !value.is_empty() {
            push_line(&mut out, &format!("{name:<width$}  {value}"));
        }
    }
    out
}

pub fn workflows(answer: &Value) -> String {
    let columns = [
        ("ID", "/id"),
        ("STATE", "/state"),
        ("DEFINITION", "/definition"),
        ("REASON", "/reason"),
        ("LABEL", "/label"),
        ("STARTED", "/created_at"),
        ("WAKES", "/wakes_at"),
    ];
    let mut out = table(&answer["workflows"], &columns);
    if let Some(cursor) = answer["next_cursor"].as_str() {
        push_line(&mut out, &format!("more with --cursor {cursor}"));
    }
    out
}

pub fn workflow(answer: &Value) -> String {
    let mut out = members(
        answer,
        &[
            ("id", "/id"),
            ("state", "/state"),
            ("version", "/version"),
            ("definition", "/definition"),
            ("reason", "/reason"),
            ("label", "/label"),
            ("started", "/created_at"),
            ("changed", "/updated_at"),
            ("wakes", "/wakes_at"),
            ("deadline", "/deadline"),
            ("waits for", "/waiting_for_operator/error/message"),
            ("turned back", "/turned_back_because/message"),
            ("given up", "/abandoned/because/message"),
            ("left", "/abandoned/left"),
        ],
    );
    for (name, sentence) in [
        ("paused", "it is paused: resume it to let it go on"),
        ("quarantined", "this node does not have its definition"),
    ] {
        if answer[name] == true {
            push_line(&mut out, sentence);
        }
    }
    for wait in items(&answer["waits"]) {
        let [step, what, until] = ["step", "for", "until"].map(|name| word(&wait[name]));
        let until = if until.is_empty() {
            String::new()
        } else {
            format!(" until {until}")
        };
        push_line(&mut out, &format!("{step} waits for a {what}{until}"));
    }
    out.push('\n');
    out + &table(
        &answer["steps"],
        &[
            ("STEP", "/name"),
            ("STATE", "/state"),
            ("ATTEMPTS", "/attempts"),
            ("NEXT", "/next_attempt_at"),
            ("HELD BACK", "/held_back_until"),
            ("COMPENSATION", "/compensation/state"),
            ("LAST ERROR", "/last_error/message"),
        ],
    )
}

/// An event in a line.
pub fn event(event: &Value) -> String {
    let [seq, at, kind, step] =
        ["/seq", "/at", "/type", "/data/step"].map(|pointer| event.pointer(pointer));
    let [seq, at, kind, step] = [seq, at, kind, step].map(|value| value.map(word));
    let details = [
        "/data/error/message",
        "/data/refusal/message",
        "/data/by/reason",
        "/ends",
    ];
    let details = details
        .into_iter()
        .filter_map(|pointer| event.pointer(pointer));
    let details: Vec<String> = details.map(word).collect();
    let line = format!(
        "{:>4}  {:<27}  {:<22}  {:<16}  {}",
        seq.unwrap_or_default(),
        at.unwrap_or_default(),
        kind.unwrap_or_default(),
        step.unwrap_or_default(),
        details.join("; ")
    );
    line.trim_end().to_owned()
}

pub fn preview(answer: &Value) -> String {
    let mut out = members(
        answer,
        &[
            ("workflow", "/workflow"),
            ("version now", "/version"),
            ("would be", "/state"),
        ],
    );
    push_line(&mut out, "would be recorded");
    push_line(&mut out, &event(&answer["event"]));
    for start in items(&answer["event"]["starts"]) {
        let [step, direction] = ["step", "direction"].map(|name| word(&start[name]));
        push_line(&mut out, &format!("would begin: {step}, {direction}"));
    }
    out
}

pub fn errors(answer: &Value) -> String {
    let mut out = table(
        &answer["errors"],
        &[
            ("COUNT", "/count"),
            ("DEFINITION", "/definition"),
            ("STEP", "/step"),
            ("ERROR", "/error"),
            ("SINCE", "/first_since"),
            ("MESSAGE", "/message"),
        ],
    );
    for group in items(&answer["errors"]) {
        let [definition, error, step] =
            ["definition", "error", "step"].map(|name| word(&group[name]));
        let step = if step.is_empty() {
            step
        } else {
            format!(" --step {step}")
        };
        push_line(
            &mut out,
            &format!(
                "wake them with `holdfast batches start retry --state PARKED --definition {definition} --error {error}{step} --reason ...`"
            ),
        );
    }
    out
}

const COMMAND_COLUMNS: [(&str, &str); 9] = [
    ("NUMBER", "/id"),
    ("WORKFLOW", "/workflow"),
    ("VERB", "/verb"),
    ("STATE", "/state"),
    ("EVENT", "/event"),
    ("BATCH", "/batch"),
    ("ACTOR", "/actor"),
    ("ACCEPTED", "/accepted_at"),
    ("REASON", "/reason"),
];

pub fn commands(answer: &Value) -> String {
    let mut out = table(&answer["commands"], &COMMAND_COLUMNS);
    push_next(&mut out, answer);
    out
}

pub fn command(answer: &Value) -> String {
    members(
        answer,
        &[
            ("number", "/id"),
            ("workflow", "/workflow"),
            ("verb", "/verb"),
            ("with", "/with"),
            ("actor", "/actor"),
            ("reason", "/reason"),
            ("key", "/key"),
            ("batch", "/batch"),
            ("accepted", "/accepted_at"),
            ("state", "/state"),
            ("event", "/event"),
            ("refused", "/refused_because"),
            ("answered", "/answered_at"),
        ],
    )
}

fn push_next(out: &mut String, answer: &Value) {
    if let Some(next) = answer["next_before"].as_u64() {
        push_line(out, &format!("more with --before {next}"));
    }
}

pub fn batches(answer: &Value) -> String {
    let columns = [
        ("NUMBER", "/id"),
        ("STATE", "/state"),
        ("VERB", "/verb"),
        ("TOLD", "/submitted"),
        ("ACTOR", "/actor"),
        ("STARTED", "/created_at"),
        ("REASON", "/reason"),
    ];
    let mut out = table(&answer["batches"], &columns);
    push_next(&mut out, answer);
    out
}

pub fn batch(answer: &Value) -> String {
    members(
        answer,
        &[
            ("number", "/id"),
            ("state", "/state"),
            ("verb", "/verb"),
            ("with", "/with"),
            ("filter", "/filter"),
            ("actor", "/actor"),
            ("reason", "/reason"),
            ("key", "/key"),
            ("a second", "/per_second"),
            ("started", "/created_at"),
            ("told", "/submitted"),
            ("pending", "/progress/pending"),
            ("done", "/progress/done"),
            ("refused", "/progress/refused"),
        ],
    )
}

pub fn batch_preview(answer: &Value) -> String {
    let more = if answer["more"] == true {
        " or more"
    } else {
        ""
    };
    let mut out = format!("{}{more} would be told\n\n", word(&answer["count"]));
    out += &table(
        &answer["sample"],
        &[
            ("WORKFLOW", "/workflow/id"),
            ("STATE", "/workflow/state"),
            ("WOULD BE", "/would/state"),
            ("WOULD BE REFUSED BECAUSE", "/would_be_refused_because"),
        ],
    );
    out
}

pub fn nodes(answer: &Value) -> String {
    let columns = [
        ("PARTITION", "/id"),
        ("EPOCH", "/epoch"),
        ("LEASE LEFT MS", "/lease_left_ms"),
        ("EVENTS", "/last_event"),
        ("BACKLOG", "/backlog"),
    ];
    let mut out = String::new();
    for node in items(&answer["nodes"]) {
        let alive = if node["alive"] == true {
            "alive"
        } else {
            "gone"
        };
        push_line(&mut out, &format!("{} ({alive})", word(&node["node"])));
        out += &table(&node["partitions"], &columns);
        out.push('\n');
    }
    let retired = items(&answer["retired"]).len();
    if retired > 0 {
        push_line(&mut out, &format!("{retired} retired partitions"));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_widest_entries_and_leaves_out_what_is_not_there() {
        let rows = json!([{ "a": "long entry", "b": 1 }, { "b": 22 }]);
        assert_eq!(
            table(&rows, &[("A", "/a"), ("B", "/b")]),
            "A           B\nlong entry  1\n            22\n"
        );
    }

    #[test]
    fn an_event_is_one_line_that_says_why() {
        let failed = json!({
            "seq": 7, "at": "2026-01-02T03:04:05Z", "type": "attempt-failed",
            "data": { "step": "payment", "error": { "class": "x", "message": "no answer" } },
        });
        let line = event(&failed);
        assert!(
            line.contains("payment") && line.ends_with("no answer"),
            "{line}"
        );
    }
}
