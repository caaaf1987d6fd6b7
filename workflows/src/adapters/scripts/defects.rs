//! Defects of the scripts, each of which takes one protection away while the text is loaded: see [`engine::planted`].

use engine::planted;

use super::Script;

/// A defect's name, the script that it is in, what protects there, and what stands in its place.
type Defect = (&'static str, Script, &'static str, &'static str);

const DEFECTS: [Defect; 8] = [
    (
        "no-tombstone",
        Script::Release,
        "store_tombstone(operation, 'reserve')",
        "",
    ),
    (
        "hold-not-remembered",
        Script::Reserve,
        "store_taken(operation, made, hold)",
        "",
    ),
    (
        "refusal-not-remembered",
        Script::Reserve,
        "if remember == '1' and",
        "if false and",
    ),
    (
        "other-copy-not-seen",
        Script::Reserve,
        "    return '2'",
        "    return '1'",
    ),
    (
        "repeat-not-compared",
        Script::Reserve,
        "if outcome.kind == 'any' then",
        "if true then",
    ),
    (
        "lost-gate-says-sold-out",
        Script::Reserve,
        "  return unavailable()",
        "  return { 'refused', 'sold-out', '0', ARGV[6] }",
    ),
    (
        "limit-counts-one-purchase",
        Script::Reserve,
        "if units_before + units > tonumber(meta[5]) then",
        "if units > tonumber(meta[5]) then",
    ),
    (
        "coupon-claimed-twice",
        Script::Claim,
        "  if holder then",
        "  if false then",
    ),
];

/// The script's text, with the defect that is planted in it if there is one.
pub fn planted_in(script: Script, text: &'static str) -> &'static str {
    let here = DEFECTS.iter().filter(|(_, of, ..)| *of == script);
    here.fold(text, |text, (defect, _, protection, instead)| {
        planted::edited(text, defect, protection, instead)
    })
}
