//! The defects that `make mutants` plants: each is in the product and in the table, with a test that is to miss it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::documents::functions;

/// So many protections are taken away at least.
const DEFECTS_MIN: usize = 24;

/// A line of the table.
struct Defect {
    name: String,
    /// The names of tests.
    checks: Vec<String>,
}

#[test]
fn every_defect_of_the_product_is_in_the_table_and_every_other_way_round() {
    let mut planted = BTreeSet::new();
    for crate_folder in ["engine", "workflows", "api"] {
        collect(&root().join(crate_folder).join("src"), &mut planted);
    }
    let table = table();
    let named: BTreeSet<String> = table.iter().map(|defect| defect.name.clone()).collect();
    assert_eq!(planted, named);
    assert_eq!(table.len(), named.len(), "a defect is in the table twice");
    assert!(table.len() >= DEFECTS_MIN, "only {} defects", table.len());
}

#[test]
fn every_test_that_is_to_miss_a_defect_exists() {
    let functions = functions();
    for Defect { name, checks } in table() {
        assert!(!checks.is_empty(), "{name}");
        for check in checks {
            assert!(functions.contains(&check), "{name}: no such test: {check}");
        }
    }
}

#[tokio::test]
async fn a_defect_that_is_not_there_is_refused_by_its_name() {
    let mut command = Command::new(root().join("scripts/mutants"));
    command.args(["role-not-checked", "no-such-defect"]);
    let output = command.kill_on_drop(true).output().await;
    let output = output.expect("the script runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("there is no defect 'no-such-defect'"),
        "{said}"
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn table() -> Vec<Defect> {
    let text = std::fs::read_to_string(root().join("scripts/lib/mutants.tsv"));
    let text = text.expect("the table");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let defect = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, _crate, _protection, checks] = columns[..] else {
            panic!("four columns: {line}");
        };
        let check = |check: &str| check.rsplit(' ').next().unwrap_or_default().to_owned();
        Defect {
            name: name.to_owned(),
            checks: checks.split(';').map(check).collect(),
        }
    };
    lines.map(defect).collect()
}

/// The names of the defects in the Rust files of this folder.
fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect(&path, names);
        } else if !path.ends_with("engine/src/planted.rs") {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            names.extend(names_in(&text).map(str::to_owned));
        }
    }
}

/// The first text in the arguments of each question about a defect, and what stands before a script that one is in.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    let questions = ["planted::is_on(", "planted::either(", "planted::edited("];
    let asked = questions
        .into_iter()
        .flat_map(|question| text.split(question).skip(1))
        .filter_map(|rest| {
            let (arguments, name) = rest.split_once('"')?;
            let name = name.split('"').next()?;
            (!arguments.contains(')')).then_some(name)
        });
    let in_scripts = text.split("Script::").filter_map(|before| {
        let before = before.trim_end().strip_suffix("\",")?;
        before.rsplit('"').next()
    });
    asked.chain(in_scripts)
}
