//! `holdfast reconcile`: does the gate agree with the database, to the unit? Asks a running server, which looks twice, and prints what
//! differs. It ends with 1 when something differs and was not mended, or could not be looked at.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use crate::cli::Output;
use crate::cli::operators::Reconcile;
use crate::exit::{Code, Failure};
use crate::operate::{Client, table, word};

/// Has a server compare, and mend if that is asked for.
pub async fn run(arguments: Reconcile) -> Result<(), Failure> {
    let Reconcile {
        server,
        sale,
        repair,
    } = arguments;
    let client = Client::new(&server)?;
    let mut body = json!({ "repair": repair });
    if let Some(sale) = sale {
        body["sale"] = sale.into();
    }
    let request = client.post(&["reconcile"])?.json(&body);
    let report = client.call(request).await?.body;
    match server.output {
        Output::Json => println!("{report:#}"),
        Output::Text => print!("{}", text(&report)),
    }
    if report["clean"] == json!(true) {
        return Ok(());
    }
    let remaining = word(&report["remaining"]);
    let skipped = report["not_looked_at"].as_array().map_or(0, Vec::len);
    let hint = if repair {
        "look at the server's log"
    } else {
        "mend them with --repair"
    };
    Err(Failure::new(
        Code::CheckFailed,
        format!("{remaining} differences are left, {skipped} sales could not be compared; {hint}"),
    ))
}

/// A line a difference, one a sale that was not looked at, and what was looked at.
fn text(report: &Value) -> String {
    let mut out = String::new();
    let columns = [
        ("KIND", "/kind"),
        ("SALE", "/sale"),
        ("OF", "/of"),
        ("GATE", "/gate"),
        ("DATABASE", "/database"),
        ("REPAIR", "/repair"),
        ("DONE", "/done"),
    ];
    let mut rows = report["differences"].clone();
    for row in rows.as_array_mut().into_iter().flatten() {
        let of = [&row["operation"], &row["item"]].map(word);
        let of = of.into_iter().find(|of| !of.is_empty());
        let done = match (&row["repaired"], word(&row["failed"])) {
            (Value::Bool(true), _) => "yes".to_owned(),
            (_, failed) if failed.is_empty() => "no".to_owned(),
            (_, failed) => failed,
        };
        row["of"] = of.unwrap_or_default().into();
        row["done"] = done.into();
    }
    if rows.as_array().is_some_and(|rows| !rows.is_empty()) {
        out.push_str(&table(&rows, &columns));
    }
    for skipped in report["not_looked_at"].as_array().into_iter().flatten() {
        let (sale, why) = (word(&skipped["sale"]), word(&skipped["why"]));
        line(
            &mut out,
            format_args!("{sale} could not be compared: {why}"),
        );
    }
    let figure = |name: &str| word(&report[name]);
    line(
        &mut out,
        format_args!(
            "{} sales, {} operations of the gate and {} rows looked at: {} differences, {} mended, {} left",
            figure("sales"),
            figure("operations"),
            figure("rows"),
            figure("found"),
            figure("repaired"),
            figure("remaining"),
        ),
    );
    out
}

fn line(out: &mut String, text: fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a String takes all");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_report_is_one_line() {
        let report = json!({
            "clean": true, "sales": 2, "operations": 10, "rows": 3, "found": 0, "repaired": 0, "remaining": 0,
            "differences": [], "not_looked_at": [],
        });
        let line = "2 sales, 10 operations of the gate and 3 rows looked at: 0 differences, 0 mended, 0 left\n";
        assert_eq!(text(&report), line);
    }

    #[test]
    fn each_difference_and_each_sale_that_was_left_out_is_a_line() {
        let report = json!({
            "clean": false, "sales": 1, "operations": 10, "rows": 3, "found": 1, "repaired": 1, "remaining": 0,
            "differences": [{
                "kind": "counters-do-not-add-up", "sale": "drop", "item": "mug", "gate": "5 available",
                "database": "4 in all", "right": "database", "why": "", "repair": "rebuild", "repaired": true,
            }],
            "not_looked_at": [{"sale": "other", "why": "its gate is closed"}],
        });
        let lines = "\
KIND                    SALE  OF   GATE         DATABASE  REPAIR   DONE
counters-do-not-add-up  drop  mug  5 available  4 in all  rebuild  yes
other could not be compared: its gate is closed
1 sales, 10 operations of the gate and 3 rows looked at: 1 differences, 1 mended, 0 left
";
        assert_eq!(text(&report), lines);
    }
}
