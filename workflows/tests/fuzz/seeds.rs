//! A sale as an operator describes it.

use engine::Timestamp;
use workflows::domain::sale::AMOUNT_MAX;
use workflows::domain::seed::{
    ENTRIES_MAX, HOLD_SECONDS, NAME_CHARS_MAX, PER_BUYER_LIMIT_MAX, SaleSeed, UNITS_MAX, instant,
};

use crate::mutate::{Target, Verdict};
use crate::short;

fn check(bytes: &[u8]) -> Verdict {
    let seed = match SaleSeed::from_json(bytes) {
        Ok(seed) => seed,
        // A name that nobody knows is repeated: whoever sent it reads it.
        Err(error) if error.to_string().len() <= 2 * bytes.len() + 1_000 => return Ok(false),
        Err(error) => return short(&error).map(|()| false),
    };
    let text = serde_json::to_vec(&seed).map_err(|error| format!("not written: {error}"))?;
    match SaleSeed::from_json(&text) {
        Ok(again) if again == seed => {}
        _ => return Err("another seed when it is read again".to_owned()),
    }
    let Ok(sales) = SaleSeed::check_all(std::slice::from_ref(&seed)) else {
        return Ok(false);
    };
    let sale = &sales[0];
    let units = |units: u32| u64::from(units) <= UNITS_MAX;
    let is_name = |name: &str| (1..=NAME_CHARS_MAX).contains(&name.chars().count());
    let bounded = sale.opens_at < sale.closes_at
        && sale.opens_at >= Timestamp(0)
        && (HOLD_SECONDS.0..=HOLD_SECONDS.1).contains(&sale.hold_for.as_secs())
        && (1..=PER_BUYER_LIMIT_MAX).contains(&u64::from(sale.per_buyer_limit))
        && (1..=ENTRIES_MAX).contains(&sale.products.len())
        && sale.campaigns.len() <= ENTRIES_MAX
        && is_name(&sale.name);
    let products = sale.products.iter().all(|product| {
        units(product.stock) && product.unit_price <= AMOUNT_MAX && is_name(&product.name)
    });
    let campaigns = sale.campaigns.iter().all(|campaign| {
        units(campaign.size) && campaign.minimum_price <= AMOUNT_MAX && is_name(&campaign.name)
    });
    if bounded && products && campaigns {
        Ok(true)
    } else {
        Err(format!("taken: {sale:?}"))
    }
}

#[test]
fn a_sale_is_taken_within_its_bounds_or_refused() {
    let words = [
        "\"hold_seconds\"",
        "\"serials\"",
        "\"pool\"",
        "\"percent\"",
        "\"amount\"",
        "\"valid_from\"",
        "\"valid_until\"",
        "\"claims_from\"",
        "\"claim_in_purchase\"",
        "\"spring-drop\"",
    ];
    Target::new("sale", &words).fuzz(check);
}

#[test]
fn an_instant_is_one_that_can_be_written_again_or_none() {
    let words = [
        "T",
        "Z",
        "+09:00",
        "-25:59:59",
        "[Asia/Seoul]",
        ":60",
        "24:00",
        ".999999999999",
        "-000001",
        "W53",
    ];
    Target::new("instant", &words).fuzz(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(at) = instant("opens_at", &text) else {
            return Ok(false);
        };
        let shown = jiff::Timestamp::from_microsecond(at.0).map_err(|error| error.to_string())?;
        match instant("opens_at", &shown.to_string()) {
            Ok(again) if again == at => Ok(true),
            other => Err(format!("{shown} is {other:?}")),
        }
    });
}
