//! `holdfast seed FILE.toml`: the sales of a file, all of them or none, over a running server's operators' address. The file is
//! checked here first, so that what is wrong is told with its line.

mod file;

use std::fs;
use std::io::Read as _;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use workflows::domain::seed::SaleSeed;

use crate::cli::Output;
use crate::cli::operators::Seed;
use crate::exit::{Code, Failure};
use crate::operate::Client;
use file::SeedFile;

/// The largest file: what a server takes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The body of `POST /v1/seed`.
#[derive(Serialize)]
struct Body {
    sales: Vec<SaleSeed>,
}

/// Checks the file, and has a server apply it.
pub async fn run(arguments: Seed) -> Result<(), Failure> {
    let Seed {
        file,
        check,
        server,
    } = arguments;
    let sales = read(&file)?;
    if check {
        println!(
            "{}: {} sales, nothing is wrong",
            file.display(),
            sales.len()
        );
        return Ok(());
    }
    let client = Client::new(&server)?;
    let request = client.post(&["seed"])?.json(&Body { sales });
    let answer = client.call(request).await?;
    match server.output {
        Output::Json => println!("{:#}", answer.body),
        Output::Text => print!("{}", text(&answer.body)),
    }
    Ok(())
}

/// The file's sales, if all of them are sound.
fn read(path: &Path) -> Result<Vec<SaleSeed>, Failure> {
    let wrong =
        |why: String| Failure::new(Code::Configuration, format!("{}: {why}", path.display()));
    let unreadable = |error: std::io::Error| wrong(format!("can't be read: {error}"));
    // Not by the size that the system says: a pipe or a device has none.
    let mut bounded = fs::File::open(path)
        .map_err(unreadable)?
        .take(FILE_BYTES_MAX + 1);
    let mut text = String::new();
    bounded.read_to_string(&mut text).map_err(unreadable)?;
    if bounded.limit() == 0 {
        return Err(wrong(format!("has more than {FILE_BYTES_MAX} bytes")));
    }
    SeedFile::parse(&text)
        .and_then(SeedFile::check)
        .map_err(|error| Failure::new(Code::Configuration, format!("{}:{error}", path.display())))
}

/// One sale a line.
fn text(answer: &Value) -> String {
    let sales = answer["sales"].as_array().map_or(&[][..], Vec::as_slice);
    let word = |sale: &Value, member: &str| sale[member].as_str().unwrap_or_default().to_owned();
    let lines = sales
        .iter()
        .map(|sale| format!("{:<10} {}\n", word(sale, "result"), word(sale, "sale")));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_sound_seed() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/drop.toml");
        let sales = read(&path).unwrap();
        assert_eq!(sales[0].sale, "spring-drop");
    }

    #[test]
    fn a_file_that_is_not_there_is_told_by_its_name() {
        let failure = read(Path::new("no/such/file.toml")).unwrap_err();
        assert_eq!(failure.code, Code::Configuration);
        assert!(
            failure
                .sentence
                .starts_with("no/such/file.toml: can't be read"),
            "{failure}"
        );
    }
}
