//! A rebuild as calls: begin, chunks of a bounded size, finish.

use crate::ports::reservations::{CampaignSnapshot, ClaimSnapshot, ClaimState, SaleSnapshot};

use super::question::{flag, push_lines};
use super::{Call, Script};

/// Records a chunk holds at most: a script runs alone, so a chunk must be short. 1,000 take a few milliseconds.
pub const CHUNK_RECORDS_MAX: usize = 1_000;

/// The calls that replace what is known of the sale, in order; each is made when the one before it was answered.
pub fn calls(snapshot: &SaleSnapshot) -> impl Iterator<Item = Call> + Send {
    let record_count = count_records(snapshot);
    let chunk_count = record_count.div_ceil(CHUNK_RECORDS_MAX);
    let generation = snapshot.generation.to_string();
    let finish = vec![
        generation.clone(),
        chunk_count.to_string(),
        snapshot.revision.to_string(),
        flag(snapshot.is_cancelled),
        snapshot.opens_at_ms.to_string(),
        snapshot.closes_at_ms.to_string(),
        snapshot.per_buyer_limit.to_string(),
    ];
    let begin = Call::new(
        Script::RebuildBegin,
        &snapshot.sale,
        vec![generation.clone()],
    );
    let finish = Call::new(Script::RebuildFinish, &snapshot.sale, finish);
    let mut records = records(snapshot);
    let loads = (0..chunk_count).map(move |chunk| {
        let mut arguments = vec![generation.clone(), chunk.to_string()];
        arguments.extend(records.by_ref().take(CHUNK_RECORDS_MAX).flatten());
        Call::new(Script::RebuildLoad, &snapshot.sale, arguments)
    });
    std::iter::once(begin)
        .chain(loads)
        .chain(std::iter::once(finish))
}

fn count_records(snapshot: &SaleSnapshot) -> usize {
    let claims: usize = snapshot
        .campaigns
        .iter()
        .map(|campaign| campaign.claims.len())
        .sum();
    snapshot.products.len()
        + snapshot.campaigns.len()
        + snapshot.sold.len()
        + snapshot.holds.len()
        + claims
        + snapshot.ended.len()
        + snapshot.open.len()
}

/// The records of `rebuild_load.lua`: products and campaigns before what refers to them.
fn records(snapshot: &SaleSnapshot) -> impl Iterator<Item = Vec<String>> + Send {
    let products = snapshot.products.iter().map(|product| {
        let (total, sold) = (product.total.to_string(), product.sold.to_string());
        vec![
            "product".to_owned(),
            product.product.to_string(),
            total,
            sold,
        ]
    });
    let campaigns = snapshot.campaigns.iter().map(|campaign| {
        vec![
            "campaign".to_owned(),
            campaign.campaign.to_string(),
            campaign.size.to_string(),
            flag(campaign.claim_in_purchase),
            instant(campaign.valid_from_ms),
            instant(campaign.valid_until_ms),
            instant(campaign.claims_from_ms),
        ]
    });
    let sold = snapshot.sold.iter().map(|sold| {
        vec![
            "units".to_owned(),
            sold.buyer.to_string(),
            sold.units.to_string(),
        ]
    });
    let holds = snapshot.holds.iter().map(|hold| {
        let lines = hold.lines.as_slice();
        let (operation, buyer) = (hold.operation.to_string(), hold.buyer.to_string());
        let mut record = vec!["hold".to_owned(), operation, buyer, lines.len().to_string()];
        push_lines(&mut record, lines);
        record
    });
    let claims = snapshot.campaigns.iter().flat_map(|campaign| {
        let claims = campaign.claims.iter();
        claims.map(|claim| claim_record(campaign, claim))
    });
    let ended = snapshot
        .ended
        .iter()
        .map(|operation| vec!["ended".to_owned(), operation.to_string()]);
    let open = snapshot
        .open
        .iter()
        .map(|operation| vec!["open".to_owned(), operation.to_string()]);
    products
        .chain(campaigns)
        .chain(sold)
        .chain(holds)
        .chain(claims)
        .chain(ended)
        .chain(open)
}

fn claim_record(campaign: &CampaignSnapshot, claim: &ClaimSnapshot) -> Vec<String> {
    let state = match claim.state {
        ClaimState::Issued => "issued",
        ClaimState::Held => "held",
        ClaimState::Used => "used",
    };
    let taken_from = claim.taken_from.as_ref();
    vec![
        "claim".to_owned(),
        claim.operation.to_string(),
        claim.buyer.to_string(),
        campaign.campaign.to_string(),
        state.to_owned(),
        taken_from.map_or_else(String::new, ToString::to_string),
    ]
}

fn instant(at_ms: Option<i64>) -> String {
    at_ms.map_or_else(String::new, |at_ms| at_ms.to_string())
}
