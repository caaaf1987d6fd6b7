//! The picture in `docs/SALES.md` is the saga's own.

use engine::Runtime;
use workflows::opening;

use crate::support::sqlite;

const PAGE: &str = include_str!("../../../docs/SALES.md");

#[tokio::test]
async fn the_page_shows_the_saga_as_it_is() {
    let disposable = sqlite().await;
    let definition = opening::definition(&disposable.database, &Runtime::system()).unwrap();
    let picture = definition.to_mermaid();
    assert!(
        PAGE.contains(&format!("```mermaid\n{picture}```")),
        "docs/SALES.md has another picture; it is:\n{picture}"
    );
    disposable.dispose().await;
}
