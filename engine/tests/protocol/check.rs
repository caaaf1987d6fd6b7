//! Runs the checker, and says what it saw in words.

use stateright::{Checker as _, HasDiscoveries, Model as _, Path};

use super::Protocol;
use super::actions::Action;
use super::defects::Defect;
use super::properties::{Name, PLACES};
use super::state::State;

/// States, each with what happened next.
type Way = Vec<(State, Option<Action>)>;

/// With so many faults the model comes by every place that matters.
const FAULTS_TELLING: u8 = 2;

/// The number of faults: what the environment says, or this.
pub fn faults(otherwise: u8) -> u8 {
    let said = std::env::var("HOLDFAST_MODEL_FAULTS").ok();
    said.map_or(otherwise, |said| {
        said.parse()
            .expect("HOLDFAST_MODEL_FAULTS must be a number of faults")
    })
}

/// Goes through every state: all properties hold in each, and the places that matter were come by.
pub fn exhaust(protocol: &Protocol) {
    let checker = protocol.clone().checker().spawn_bfs().join();
    let broken = Name::ALL.map(Name::words).into_iter();
    let broken: Vec<&str> = broken
        .filter(|words| {
            tell(
                protocol,
                words,
                checker.discovery(words).map(Path::into_vec),
            )
        })
        .collect();
    println!(
        "{} nodes, {} workflow(s), up to {} faults: {} states, {} steps, the longest way {}",
        protocol.nodes,
        protocol.workflows,
        protocol.faults,
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth() - 1,
    );
    assert!(broken.is_empty(), "{broken:?}");
    assert!(checker.is_done(), "every state was looked at");
    for (words, _) in PLACES {
        let been = checker.discovery(words).is_some();
        assert!(
            been || protocol.faults < FAULTS_TELLING,
            "the model never came by: {words}"
        );
    }
}

/// Takes a protection away, and finds the property that fails by the shortest way there is.
pub fn find(defect: Defect) {
    let name = defect.breaks();
    let protocol = Protocol {
        nodes: 2,
        workflows: defect.workflows(),
        faults: 2,
        defect: Some(defect),
    };
    let mut states = 0;
    let mut shortest = None;
    // The checker looks at many states before it stops, and keeps the last that it found: look again for a shorter way.
    while let Some(way) = way_to(&protocol, name, shortest.as_ref(), &mut states) {
        shortest = Some(way);
    }
    println!("{defect:?}, after {states} states:");
    let found = tell(&protocol, name.words(), shortest);
    assert!(
        found,
        "{defect:?} is missed by nobody: \"{}\" holds",
        name.words()
    );
}

/// A way to a state in which the property fails, shorter than that one.
fn way_to(
    protocol: &Protocol,
    name: Name,
    longer: Option<&Way>,
    states: &mut usize,
) -> Option<Way> {
    let wanted = HasDiscoveries::AllOf([name.words()].into());
    let mut checker = protocol.clone().checker().finish_when(wanted);
    if let Some(longer) = longer {
        checker = checker.target_max_depth(longer.len());
    }
    let checker = checker.spawn_bfs().join();
    *states += checker.unique_state_count();
    checker.discovery(name.words()).map(Path::into_vec)
}

/// Prints how a property came to fail. `false`: it holds.
fn tell(protocol: &Protocol, words: &str, way: Option<Way>) -> bool {
    let Some(way) = way else { return false };
    println!("  broken: {words}");
    for (state, action) in way {
        if let Some(action) = action {
            println!("    {}", action.words(protocol, &state));
        }
    }
    true
}
