//! When nothing fails any more: everyone gets an outcome, the gate agrees with the database, every purchase that was acknowledged is
//! there, and every invariant holds.

use std::collections::BTreeMap;

use loadtest::driver::{self, Acknowledged};
use serde_json::Value;

use super::tally::{Counted, line};
use super::world::World;
use crate::support::PATIENCE;

/// Panics unless it is so. Returns how many things each invariant looked at, a line each.
pub async fn is_well(world: &World, acknowledged: &[Acknowledged]) -> Vec<String> {
    for place in &world.places {
        place.node.lock().await.lives();
    }
    let shops: Vec<_> = world
        .places
        .iter()
        .map(|place| world.shop(place, ""))
        .collect();
    for shop in &shops {
        shop.quiet().await;
    }
    let shop = &shops[0];
    shop.reconciled().await;
    for shop in &shops {
        shop.all_is_published().await;
    }
    let check = driver::check_acknowledged(&shop.buyers, acknowledged, PATIENCE).await;
    let check = check.expect("the driver starts");
    assert_eq!(check.violations, Vec::<String>::new());
    world.tally.more(Counted::AskedAgain, check.checked);
    // A repeat at another node may hold something until it is found to be one.
    shop.verify_in_the_end().await;
    println!("parked: {:?}", why_parked(&shop.workflows("PARKED").await));
    let invariants = shop.invariants().await;
    invariants.iter().map(shown).collect()
}

fn shown(invariant: &Value) -> String {
    let word = |name: &str| invariant[name].as_str().unwrap_or_default();
    assert_eq!(word("verdict"), "holds", "{invariant}");
    let title = word("title").split(':').next().unwrap_or_default();
    let looked_at = invariant["checked"].as_u64().expect("a count");
    line(&format!("{} {title}: looked at", word("id")), looked_at)
}

/// How many are parked, by the first words of their reasons.
fn why_parked(parked: &[Value]) -> BTreeMap<String, u32> {
    let mut reasons = BTreeMap::new();
    for one in parked {
        let reason = one["reason"].to_string();
        *reasons
            .entry(reason.chars().take(160).collect())
            .or_default() += 1;
    }
    reasons
}
