//! A file of sales, as somebody wrote it or as it came: `holdfast seed --check` says that it is sound, or what is wrong in which line.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::fuzz;
use super::mutate::{Target, Verdict};
use crate::support::process::holdfast;

/// So much address space is enough for any file, in KiB; without the limit a defect would take the machine.
const SPACE_KIB: u64 = 4 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);

/// The program with little memory.
fn check_of(path: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_holdfast");
    let limited = format!("ulimit -v {SPACE_KIB}; exec \"$0\" \"$@\"");
    let mut command = holdfast(&[], &BTreeMap::new());
    let variables = command.as_std().get_envs();
    let removed: Vec<_> = variables
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| name.to_owned())
        .collect();
    command = Command::new("sh");
    command
        .args(["-c", &limited, program, "seed", "--check", path])
        .kill_on_drop(true);
    for name in removed {
        command.env_remove(name);
    }
    command
}

async fn check(path: &str, bytes: &[u8]) -> Verdict {
    fs::write(path, bytes).map_err(|error| error.to_string())?;
    let output = timeout(PATIENCE, check_of(path).output()).await;
    let output = output
        .map_err(|_| "it takes for ever")?
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    if said.len() > 3 * bytes.len() + 4_096 {
        return Err(format!("it says {} bytes", said.len()));
    }
    match output.status.code() {
        Some(0) => Ok(true),
        Some(2) if said.contains(path) && !said.contains("panicked") => Ok(false),
        _ => Err(format!(
            "{}: {}",
            output.status,
            said.chars().take(500).collect::<String>()
        )),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_sales_is_sound_or_its_line_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sales.toml").display().to_string();
    let example = fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/drop.toml"
    ))
    .expect("the example");
    let words = [
        "[[sales]]",
        "[[sales.products]]",
        "[sales]",
        "opens_at",
        "=",
        "2026-05-01T09:00:00Z",
        "2026-05-01",
        "07:32:00",
        "0x7fffffffffffffff",
        "0xffffffffffffffff",
        "inf",
        "nan",
        "\"\"\"",
        "'''",
        "1_0",
        "{",
        "}",
        "a.b.c",
    ];
    let target = Target {
        made: vec![example],
        one_in: 12,
        ..Target::new("seed-file", &words)
    };
    let runtime = Handle::current();
    fuzz(target, |bytes| runtime.block_on(check(&path, bytes)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_made_to_be_large_in_memory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sales.toml").display().to_string();
    let files = [
        ("brackets", format!("a = {}", "[".repeat(500_000))),
        (
            "closed brackets",
            format!("a = {}1{}", "[".repeat(400_000), "]".repeat(400_000)),
        ),
        ("braces", format!("a = {}", "{a=".repeat(300_000))),
        ("dots", format!("a{} = 1", ".a".repeat(400_000))),
        (
            "a table of dots",
            format!("[a{}]\nb = 1", ".a".repeat(400_000)),
        ),
        ("tables", "[[a]]\n".repeat(150_000)),
        (
            "a long name over many values",
            format!("{} = [{}]", "a".repeat(400_000), "1,".repeat(250_000)),
        ),
        ("long names within each other", {
            let name = "a".repeat(6_000);
            let names = vec![name; 70].join(".");
            format!("{names} = [{}]", "1,".repeat(250_000))
        }),
        ("a long number", format!("a = {}", "9".repeat(900_000))),
        ("one text", format!("a = \"{}\"", "\\u0041".repeat(150_000))),
        ("too long", "#".repeat(1024 * 1024 + 1)),
    ];
    for (name, text) in files {
        let begun = tokio::time::Instant::now();
        let verdict = check(&path, text.as_bytes()).await;
        println!("{name}: {verdict:?} after {:?}", begun.elapsed());
        assert_eq!(verdict, Ok(false), "{name}");
    }
    // It has no length, and no end.
    let output = timeout(PATIENCE, check_of("/dev/zero").output()).await;
    let output = output.expect("it ends").expect("it starts");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
