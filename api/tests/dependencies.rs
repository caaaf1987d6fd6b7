//! Dependencies point one way: api -> workflows -> engine, and api -> loadtest, which knows none of the others.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokio::process::Command;

#[tokio::test]
async fn dependencies_point_one_way() {
    let mut command = Command::new(env!("CARGO"));
    command
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .kill_on_drop(true);
    let output = command.output().await.expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let names: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let ours: BTreeMap<&str, BTreeSet<&str>> = packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"]
                .as_array()
                .expect("dependencies")
                .iter();
            // What only tests use does not shape the program.
            let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
            let inside = normal
                .filter_map(|dependency| dependency["name"].as_str())
                .filter(|name| names.contains(name));
            (package["name"].as_str().expect("a name"), inside.collect())
        })
        .collect();
    let expected = BTreeMap::from([
        ("api", BTreeSet::from(["engine", "loadtest", "workflows"])),
        ("engine", BTreeSet::new()),
        ("loadtest", BTreeSet::new()),
        ("workflows", BTreeSet::from(["engine"])),
    ]);
    assert_eq!(ours, expected);
}
