//! `holdfast migrate`: brings the schema up to date without serving, as a step of a deployment.

use engine::Runtime;

use crate::cli::Migrate;
use crate::exit::Failure;
use crate::wiring::{DataDir, database};

/// Migrates, and says what was done.
pub async fn run(arguments: Migrate, _: Runtime) -> Result<(), Failure> {
    let Migrate { backend } = arguments;
    let (database, _held) = if let Some(url) = &backend.database_url {
        (database::connect(url).await?, None)
    } else {
        let data_dir = DataDir::take(&backend.data_dir)?;
        (database::open(&data_dir.database()).await?, Some(data_dir))
    };
    let report = database::migrate(&database).await?;
    if report.applied.is_empty() {
        println!("the schema is up to date (version {})", report.version);
    } else {
        let applied: Vec<String> = report.applied.iter().map(u32::to_string).collect();
        println!(
            "applied {}; the schema is version {}",
            applied.join(", "),
            report.version
        );
    }
    Ok(())
}
