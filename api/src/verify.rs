//! `holdfast verify`: do the invariants hold? Has a running server check all of them, over the database, the gate, the topic and the
//! gateway's ledger, and prints what was looked at, what was in flight, and what is wrong. It ends with 1 when something is.

use std::fmt::Write as _;
use std::time::Duration;

use engine::Runtime;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::cli::Output;
use crate::cli::operators::Verify;
use crate::exit::{Code, Failure};
use crate::operate::{Client, table, word};

/// How often it is looked whether a long check has ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Has a server check, and waits for it.
pub async fn run(arguments: Verify, runtime: &Runtime) -> Result<(), Failure> {
    let Verify {
        server,
        at_rest,
        last,
        limit,
    } = arguments;
    let client = Client::new(&server)?;
    let report = if last {
        shown_last(&client).await?
    } else {
        checked(&client, at_rest, limit, runtime).await?
    };
    match server.output {
        Output::Json => println!("{report:#}"),
        Output::Text => print!("{}", text(&report)),
    }
    let broken = with_verdict(&report, "violated");
    if broken.is_empty() && report["holds"] == json!(true) {
        return Ok(());
    }
    let sentence = format!("{} does not hold, see above", broken.join(", "));
    Err(Failure::new(Code::CheckFailed, sentence))
}

/// What the last check saw.
async fn shown_last(client: &Client) -> Result<Value, Failure> {
    let shown = client.get(&["verify"], &[]).await?.body;
    shown.get("last").cloned().ok_or_else(|| {
        let why = "nothing was checked on this server yet: leave --last away";
        Failure::new(Code::Refused, why)
    })
}

/// What a check sees that begins now.
async fn checked(
    client: &Client,
    at_rest: bool,
    limit: Duration,
    runtime: &Runtime,
) -> Result<Value, Failure> {
    let request = client.post(&["verify"])?;
    let request = request.json(&json!({ "at_rest": at_rest }));
    let answer = client.call(request).await?;
    if answer.status != StatusCode::ACCEPTED {
        return Ok(answer.body);
    }
    let number = answer.body["number"].as_u64().unwrap_or_default();
    let deadline = runtime.now().after(limit);
    while runtime.now() < deadline {
        if let Some(report) = ended(client, number).await? {
            return Ok(report);
        }
        runtime.sleep(LOOK_EVERY).await;
    }
    let why =
        format!("check {number} still runs: look at it with `holdfast verify --last` in a while");
    Err(Failure::new(Code::Pending, why))
}

/// What a long check saw, once it has ended.
async fn ended(client: &Client, number: u64) -> Result<Option<Value>, Failure> {
    let shown = client.get(&["verify"], &[]).await?.body;
    let is_it = |one: &Value| one["number"].as_u64() >= Some(number);
    if is_it(&shown["last"]) {
        return Ok(Some(shown["last"].clone()));
    }
    if is_it(&shown["failed"]) {
        let why = format!("it could not be checked: {}", word(&shown["failed"]["why"]));
        return Err(Failure::new(Code::Server, why));
    }
    Ok(None)
}

fn with_verdict(report: &Value, verdict: &str) -> Vec<String> {
    invariants(report)
        .filter(|one| one["verdict"] == verdict)
        .map(|one| word(&one["id"]))
        .collect()
}

fn invariants(report: &Value) -> impl Iterator<Item = &Value> {
    report["invariants"].as_array().into_iter().flatten()
}

/// A line an invariant; then what is wrong, what was not checked and what was in flight, each with its invariant.
fn text(report: &Value) -> String {
    let columns = [
        ("", "/id"),
        ("VERDICT", "/verdict"),
        ("LOOKED AT", "/checked"),
        ("IN FLIGHT", "/in_flight"),
        ("WHAT MUST HOLD", "/title"),
    ];
    let mut out = table(&report["invariants"], &columns);
    for one in invariants(report) {
        let id = word(&one["id"]);
        list(
            &mut out,
            &id,
            "is violated",
            &one["violations"],
            &one["violation_count"],
        );
        if let Some(because) = one["not_checked"].as_str() {
            line(&mut out, &format!("{id} was not checked: {because}"));
        }
        for note in one["notes"].as_array().into_iter().flatten() {
            line(&mut out, &format!("{id}: {}", word(note)));
        }
        list(
            &mut out,
            &id,
            "was in flight",
            &one["under_way"],
            &one["in_flight"],
        );
    }
    let broken = with_verdict(report, "violated");
    let verdict = if broken.is_empty() {
        "everything that was checked holds".to_owned()
    } else {
        format!("{} violated", broken.join(", "))
    };
    let not_checked = with_verdict(report, "not-checked");
    let not_checked = if not_checked.is_empty() {
        String::new()
    } else {
        format!(", {} not checked", not_checked.join(", "))
    };
    line(
        &mut out,
        &format!(
            "{verdict}{not_checked}, {} in flight; checked {} in {} ms",
            word(&report["in_flight"]),
            word(&report["started_at"]),
            word(&report["took_ms"]),
        ),
    );
    out
}

/// The first of these, and how many more there are: of units on their way, one line may stand for many.
fn list(out: &mut String, id: &str, what: &str, some: &Value, count: &Value) {
    let some = some.as_array().map_or(&[][..], Vec::as_slice);
    for one in some {
        line(out, &format!("{id} {what}: {}", word(one)));
    }
    let count = count.as_u64().unwrap_or_default();
    if count > some.len() as u64 && !some.is_empty() {
        line(out, &format!("{id} {what}: {count} in all"));
    }
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a String takes all");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_invariant_is_a_line_and_what_is_wrong_is_named() {
        let report = json!({
            "number": 1, "started_at": "2026-01-02T03:04:05Z", "took_ms": 12, "at_rest": false, "holds": false, "in_flight": 2,
            "invariants": [
                {
                    "id": "I1", "title": "stock", "verdict": "violated", "checked": 3, "in_flight": 2,
                    "under_way": ["drop/mug: 3 held in the gate, 1 in the database"],
                    "violations": ["drop/cap: 1 sold in the database, 0 goods issued"], "violation_count": 1, "notes": [],
                },
                {
                    "id": "I5", "title": "topic", "verdict": "not-checked", "checked": 0, "in_flight": 0, "under_way": [],
                    "violations": [], "violation_count": 0, "notes": [], "not_checked": "there is no bus",
                },
            ],
        });
        let lines = "\x20   VERDICT      LOOKED AT  IN FLIGHT  WHAT MUST HOLD
I1  violated     3          2          stock
I5  not-checked  0          0          topic
I1 is violated: drop/cap: 1 sold in the database, 0 goods issued
I1 was in flight: drop/mug: 3 held in the gate, 1 in the database
I1 was in flight: 2 in all
I5 was not checked: there is no bus
I1 violated, I5 not checked, 2 in flight; checked 2026-01-02T03:04:05Z in 12 ms
";
        assert_eq!(text(&report), lines);
    }
}
