//! What the documents name exists.

use std::collections::BTreeSet;
use std::path::Path;

/// A name in backticks that is as long as this is the name of a test.
const TEST_NAME_MIN: usize = 20;

#[test]
fn every_test_that_the_guarantees_name_exists() {
    all_exist("docs/ENGINE.md");
}

#[test]
fn every_test_that_the_faults_name_exists() {
    all_exist("docs/FAULTS.md");
}

/// Every test that this document names.
fn all_exist(document: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join(document)).expect("the document");
    let is_test_name = |word: &&str| {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        word.len() >= TEST_NAME_MIN && word.contains('_') && word.bytes().all(letters)
    };
    let named: BTreeSet<&str> = text.split('`').filter(is_test_name).collect();
    assert!(named.len() > 30, "only {} tests are named", named.len());
    let functions = functions();
    let missing: Vec<&&str> = named
        .iter()
        .filter(|name| !functions.contains(**name))
        .collect();
    assert!(missing.is_empty(), "no such test: {missing:?}");
}

/// The names of all functions that there are.
pub fn functions() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut functions = BTreeSet::new();
    for folder in ["engine", "workflows", "api", "loadtest"] {
        for sources in ["src", "tests", "examples"] {
            collect(&root.join(folder).join(sources), &mut functions);
        }
    }
    functions
}

/// The names of all functions in the Rust files of this folder.
fn collect(folder: &Path, functions: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect(&path, functions);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            let names = text
                .split("fn ")
                .skip(1)
                .filter_map(|rest| rest.split('(').next());
            functions.extend(names.map(str::to_owned));
        }
    }
}
