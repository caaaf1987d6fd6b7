//! The picture in `docs/PURCHASE.md` is the saga's own.

use engine::definition::Definition;

use crate::definition::definitions;

const PAGE: &str = include_str!("../../../docs/PURCHASE.md");

#[track_caller]
fn is_drawn(definition: &Definition) {
    let picture = format!("```mermaid\n{}```", definition.to_mermaid());
    assert!(
        PAGE.contains(&picture),
        "docs/PURCHASE.md has another picture of {}; it is:\n{picture}",
        definition.pinned()
    );
}

#[test]
fn the_page_about_purchases_shows_the_saga_as_it_is() {
    let [_, redirect] = definitions();
    is_drawn(&redirect);
}

#[test]
fn the_page_about_purchases_names_every_step_and_every_stage() {
    let [stored, redirect] = definitions();
    let steps = stored.steps().iter().chain(redirect.steps());
    let steps = steps.map(|step| step.name.to_string());
    let stages = crate::stages::WORDS.iter().map(|word| (*word).to_owned());
    for name in steps.chain(stages) {
        assert!(PAGE.contains(&format!("`{name}`")), "`{name}` is missing");
    }
}
