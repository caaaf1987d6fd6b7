//! The page about writing a saga shows the code of the examples, and not what it was when the page was written.

const PAGE: &str = include_str!("../../docs/WRITING-A-SAGA.md");
const EXAMPLES: [&str; 2] = [
    include_str!("../examples/smallest.rs"),
    include_str!("../examples/trip.rs"),
];

/// The page's blocks of Rust.
fn blocks() -> Vec<&'static str> {
    let blocks = PAGE.split("```rust\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap_or_default())
        .collect()
}

#[test]
fn every_block_of_code_is_in_an_example() {
    let blocks = blocks();
    assert!(blocks.len() > 10, "there are only {} blocks", blocks.len());
    for block in blocks {
        let found = EXAMPLES.iter().any(|example| example.contains(block));
        assert!(found, "not in any example, in these lines:\n{block}");
    }
}
