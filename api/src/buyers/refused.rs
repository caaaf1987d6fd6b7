//! Whether trying again can help one who was refused, and when: every "no" to a buyer says so.

use engine::workflow::Refusal;
use workflows::domain::coupon::Campaign;
use workflows::domain::ids::{BuyerId, CampaignId};
use workflows::domain::sale::Sale;
use workflows::ports::catalogue::CouponState;
use workflows::ports::reservations::SaleCounts;
use workflows::purchase::{PricedLine, is_told};

use super::front::Front;
use super::history;
use crate::problem::{Problem, Retry};

/// Purchases of a buyer that are looked at, of any sale. Who has more is not told that it is for good when what was bought is older.
const PURCHASES_LOOKED_AT: u16 = 50;

/// What a refused buyer had asked for.
pub struct Asked<'a> {
    /// Who.
    pub buyer: &'a BuyerId,
    /// In which sale.
    pub sale: &'a Sale,
    /// What; nothing by who only claims a coupon.
    pub lines: &'a [PricedLine],
    /// The campaign whose coupon was to be had.
    pub campaign: Option<&'a Campaign>,
}

impl Asked<'_> {
    /// The refusal, with a word on trying again. Where many are refused it costs no query: at most a look at the gate, shared by all
    /// of them. Only who has something already, a coupon or all the units of one buyer, is looked up.
    pub async fn refused(&self, refusal: Refusal, front: &Front) -> Problem {
        let retry = match refusal.code.as_str() {
            "sold-out" => {
                let counts = front.recent.counts(&self.sale.sale).await;
                self.sold_out(counts.as_deref())
            }
            "coupon-already-used" => self.already_used(front).await,
            "limit-reached" => self.limit_reached(front).await,
            code => self.retry(code),
        };
        Problem::from(refusal).with_retry(retry)
    }

    /// The gate says that the buyer has the coupon. It is for good only if the database has it so: a start that was lost with its
    /// node, or is just being undone, gives it back.
    async fn already_used(&self, front: &Front) -> Retry {
        let is_asked =
            |campaign: &CampaignId| self.campaign.is_some_and(|one| one.campaign == *campaign);
        let coupons = front.services.catalogue.coupons_of(self.buyer).await;
        match coupons.map(|coupons| coupons.into_iter().find(|one| is_asked(&one.campaign))) {
            Ok(Some(coupon)) if coupon.state == CouponState::Reserved => Retry::helps(
                "A purchase of yours that is under way has it: it can be had again when that falls through.",
            ),
            Ok(Some(_)) => Retry::is_in_vain("One buyer gets one coupon of a campaign."),
            Ok(None) => Retry::helps(
                "An earlier try of yours has it, which is not decided or is being given back: try again in a moment.",
            ),
            Err(error) => {
                tracing::warn!(%error, "whether a buyer has a coupon can't be told");
                Retry::helps("Whether you have it for good can't be told at the moment.")
            }
        }
    }

    /// The gate counts what purchases under way hold for the buyer, too. It is for good only with what was bought.
    async fn limit_reached(&self, front: &Front) -> Retry {
        let limit = u64::from(self.sale.per_buyer_limit);
        let asked: u64 = self.lines.iter().map(|line| u64::from(line.quantity)).sum();
        if asked > limit {
            return Retry::is_in_vain(format!(
                "Ask for at most {limit} units, in all lines together."
            ));
        }
        match history::newest(&front.services, self.buyer, PURCHASES_LOOKED_AT).await {
            Ok(purchases) => {
                let bought = purchases.iter().map(|one| one.units_of(&self.sale.sale));
                let bought: u64 = bought.sum();
                if bought + asked > limit {
                    return Retry::is_in_vain(format!(
                        "You have bought {bought} of the {limit} units that one buyer may have."
                    ));
                }
                Retry::helps(
                    "Purchases of yours that are under way hold units: you can have others when those come to nothing.",
                )
            }
            Err(problem) => {
                tracing::warn!(?problem, "what a buyer has bought can't be told");
                Retry::helps("Whether you have them for good can't be told at the moment.")
            }
        }
    }

    fn sold_out(&self, counts: Option<&SaleCounts>) -> Retry {
        let stock = |product| counts.and_then(|counts| counts.products.get(product));
        if self.lines.iter().all(|line| {
            stock(&line.product).is_some_and(|stock| stock.available == 0 && stock.held == 0)
        }) {
            return Retry::is_in_vain("All units are sold.");
        }
        Retry::helps(
            "Some units are only held: they are on sale again when their purchases fall through.",
        )
    }

    fn retry(&self, code: &str) -> Retry {
        let campaign = self.campaign;
        match code {
            "sale-not-open" => Retry::helps_at(self.sale.opens_at, "The sale opens then."),
            "sale-closed" => Retry::is_in_vain("The sale does not open again."),
            "sale-cancelled" => Retry::is_in_vain("The sale does not open any more."),
            "coupons-exhausted" => Retry::helps(
                "A coupon that is only reserved can be had again when its purchase falls through; without a coupon there may be units.",
            ),
            "no-coupon" => match campaign.and_then(|campaign| campaign.claims_from) {
                Some(from) => {
                    Retry::helps_at(from, "Claim a coupon first; that can be done from then on.")
                }
                None => Retry::is_in_vain("Coupons of this campaign can't be claimed."),
            },
            "claims-not-open" => match campaign.and_then(|campaign| campaign.claims_from) {
                Some(from) => Retry::helps_at(from, "Coupons can be claimed from then on."),
                None => {
                    Retry::is_in_vain("Coupons of this campaign are only had within a purchase.")
                }
            },
            "coupon-not-valid-yet" => {
                let from = campaign.and_then(|campaign| campaign.validity.from);
                Retry::helps_at(
                    from.unwrap_or(self.sale.opens_at),
                    "The coupon is valid from then on.",
                )
            }
            "coupon-expired" => {
                Retry::is_in_vain("Coupons of this campaign are not valid any more.")
            }
            "released" => Retry::helps("Send it under a new Idempotency-Key."),
            code if !is_told(code) => Retry::helps("Send it under a new Idempotency-Key."),
            _ => Retry::is_in_vain("The same is refused again."),
        }
    }
}
