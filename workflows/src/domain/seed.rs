//! A sale as an operator describes it: checked as a whole, every problem named by its field, before anything is stored.

use std::collections::HashSet;
use std::fmt::Display;
use std::time::Duration;

use engine::Timestamp;
use serde::{Deserialize, Serialize};

use super::coupon::{Campaign, Discount, Validity};
use super::ids::{CampaignId, ProductId, SaleId};
use super::money::Currency;
use super::sale::{AMOUNT_MAX, Product, Sale, SerialSource};

/// Products or campaigns of one sale.
pub const ENTRIES_MAX: usize = 100;
/// Units of one product, and coupons of one campaign.
pub const UNITS_MAX: u64 = 100_000_000;
/// Units that one buyer may have: what keeps a purchase's goods in one step's output.
pub const PER_BUYER_LIMIT_MAX: u64 = 100;
/// The longest name for people, in characters.
pub const NAME_CHARS_MAX: usize = 200;
/// How long units are held for a buyer who has to authorise the payment, at least and at most, in seconds.
pub const HOLD_SECONDS: (u64, u64) = (10, 86_400);
/// How long they are held when the seed does not say, in seconds.
pub const HOLD_SECONDS_DEFAULT: u32 = 600;
/// Sales that are seeded together.
pub const SALES_MAX: usize = 100;

/// A sale to be seeded, as it is written in JSON. Numbers are as wide as JSON may make them, so that
/// [`SaleSeed::check`] and not the parser says what is wrong with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaleSeed {
    /// The sale's name in URLs and keys.
    pub sale: String,
    /// Its name for people.
    pub name: String,
    /// ISO 4217, such as `KRW`.
    pub currency: String,
    /// RFC 3339, such as `2026-05-01T09:00:00Z`.
    pub opens_at: String,
    /// RFC 3339; after it opens.
    pub closes_at: String,
    /// Units that one buyer may have.
    pub per_buyer_limit: serde_json::Number,
    /// How long units are held for a buyer who has to authorise the payment, in seconds; absent means
    /// [`HOLD_SECONDS_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_seconds: Option<serde_json::Number>,
    /// What is sold: at least one product.
    pub products: Vec<ProductSeed>,
    /// Its coupon campaigns.
    #[serde(default)]
    pub campaigns: Vec<CampaignSeed>,
}

/// A product to be seeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductSeed {
    /// Its name in URLs and keys.
    pub product: String,
    /// Its name for people.
    pub name: String,
    /// Minor units.
    pub unit_price: serde_json::Number,
    /// Units there are.
    pub stock: serde_json::Number,
    /// Where its goods get their serial numbers from; absent means that they are generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serials: Option<SerialsSeed>,
}

/// Where serial numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SerialsSeed {
    /// Computed from the purchase.
    Generated,
    /// Taken from a pool that an operator fills.
    Pool,
}

/// A campaign to be seeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CampaignSeed {
    /// Its name in URLs and keys.
    pub campaign: String,
    /// Its name for people.
    pub name: String,
    /// Coupons there are.
    pub size: serde_json::Number,
    /// What a coupon takes off.
    pub discount: DiscountSeed,
    /// Minor units; absent means no minimum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_price: Option<serde_json::Number>,
    /// From when on a coupon can be used, in RFC 3339; absent: from the sale's opening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    /// Until when it can be used, in RFC 3339; absent: until the sale's closing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
    /// From when on coupons can be claimed ahead of the sale, in RFC 3339; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims_from: Option<String>,
    /// Whether a purchase may claim one; absent means yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_in_purchase: Option<bool>,
}

/// `{"amount": minor units}` or `{"percent": 1 to 100}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiscountSeed {
    /// Minor units.
    Amount(serde_json::Number),
    /// Hundredths.
    Percent(serde_json::Number),
}

/// One field of a seed is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidSeed {
    /// Where, such as `products[0].stock`.
    pub field: String,
    /// What is wrong, as the end of a sentence that begins with the field.
    pub problem: String,
}

impl InvalidSeed {
    /// The same, of the sale at this place of a list.
    fn within(self, index: usize) -> Self {
        let Self { field, problem } = self;
        let field = format!("sales[{index}].{field}");
        Self { field, problem }
    }
}

type Checked<T> = Result<T, InvalidSeed>;

impl SaleSeed {
    /// The seed that this JSON stands for, or the field that is wrong: missing, unknown, or of another type.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidSeed> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let seed = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let field = error.path().to_string();
            invalid(
                if field == "." {
                    "body".to_owned()
                } else {
                    field
                },
                error.inner(),
            )
        })?;
        reader.end().map_err(|error| invalid("body", error))?;
        Ok(seed)
    }

    /// The sales that these describe, or the first field that is wrong, such as `sales[1].products[0].stock`: no sale and no
    /// campaign may be named twice.
    pub fn check_all(seeds: &[Self]) -> Checked<Vec<Sale>> {
        if !(1..=SALES_MAX).contains(&seeds.len()) {
            return Err(invalid(
                "sales",
                format!("must name 1 to {SALES_MAX} sales"),
            ));
        }
        let mut sales = Vec::with_capacity(seeds.len());
        for (index, seed) in seeds.iter().enumerate() {
            let sale = seed.check().map_err(|wrong| wrong.within(index))?;
            sales.push(sale);
        }
        unique("sales", "sale", sales.iter().map(|sale| sale.sale.as_str()))?;
        let mut seen = HashSet::new();
        for (index, seed) in seeds.iter().enumerate() {
            for (place, campaign) in seed.campaigns.iter().enumerate() {
                if !seen.insert(campaign.campaign.as_str()) {
                    return Err(invalid(
                        format!("sales[{index}].campaigns[{place}].campaign"),
                        format!("`{}` is named twice", campaign.campaign),
                    ));
                }
            }
        }
        Ok(sales)
    }

    /// The sale that this describes, or the first field that is wrong.
    pub fn check(&self) -> Checked<Sale> {
        let opens_at = instant("opens_at", &self.opens_at)?;
        let closes_at = instant("closes_at", &self.closes_at)?;
        check_hours(opens_at, closes_at)?;
        Ok(Sale {
            sale: SaleId::parse(self.sale.as_str()).map_err(|why| invalid("sale", why))?,
            name: name("name", &self.name)?,
            currency: Currency::parse(&self.currency).map_err(|why| invalid("currency", why))?,
            opens_at,
            closes_at,
            revision: 1,
            is_cancelled: false,
            hold_for: self.checked_hold()?,
            per_buyer_limit: whole_u32(
                "per_buyer_limit",
                &self.per_buyer_limit,
                1,
                PER_BUYER_LIMIT_MAX,
            )?,
            products: self.checked_products()?,
            campaigns: self.checked_campaigns()?,
        })
    }

    fn checked_hold(&self) -> Checked<Duration> {
        let (min, max) = HOLD_SECONDS;
        let seconds = match &self.hold_seconds {
            Some(seconds) => whole("hold_seconds", seconds, min, max)?,
            None => u64::from(HOLD_SECONDS_DEFAULT),
        };
        Ok(Duration::from_secs(seconds))
    }

    fn checked_products(&self) -> Checked<Vec<Product>> {
        if !(1..=ENTRIES_MAX).contains(&self.products.len()) {
            return Err(invalid(
                "products",
                format!("must name 1 to {ENTRIES_MAX} products"),
            ));
        }
        let mut products = Vec::with_capacity(self.products.len());
        for (index, seed) in self.products.iter().enumerate() {
            products.push(seed.check(&format!("products[{index}]"))?);
        }
        unique(
            "products",
            "product",
            products.iter().map(|product| product.product.as_str()),
        )?;
        products.sort_by(|a, b| a.product.cmp(&b.product));
        Ok(products)
    }

    fn checked_campaigns(&self) -> Checked<Vec<Campaign>> {
        if self.campaigns.len() > ENTRIES_MAX {
            return Err(invalid(
                "campaigns",
                format!("must name at most {ENTRIES_MAX} campaigns"),
            ));
        }
        let mut campaigns = Vec::with_capacity(self.campaigns.len());
        for (index, seed) in self.campaigns.iter().enumerate() {
            campaigns.push(seed.check(&format!("campaigns[{index}]"))?);
        }
        unique(
            "campaigns",
            "campaign",
            campaigns.iter().map(|campaign| campaign.campaign.as_str()),
        )?;
        campaigns.sort_by(|a, b| a.campaign.cmp(&b.campaign));
        Ok(campaigns)
    }
}

impl ProductSeed {
    fn check(&self, at: &str) -> Checked<Product> {
        let field = |name: &str| format!("{at}.{name}");
        Ok(Product {
            product: ProductId::parse(self.product.as_str())
                .map_err(|why| invalid(field("product"), why))?,
            name: name(field("name"), &self.name)?,
            unit_price: whole(field("unit_price"), &self.unit_price, 0, AMOUNT_MAX)?,
            stock: whole_u32(field("stock"), &self.stock, 0, UNITS_MAX)?,
            serials: match self.serials {
                None | Some(SerialsSeed::Generated) => SerialSource::Generated,
                Some(SerialsSeed::Pool) => SerialSource::Pool,
            },
            is_recalled: false,
        })
    }
}

impl CampaignSeed {
    fn check(&self, at: &str) -> Checked<Campaign> {
        let field = |name: &str| format!("{at}.{name}");
        let discount = match &self.discount {
            DiscountSeed::Amount(amount) => {
                Discount::Amount(whole(field("discount.amount"), amount, 1, AMOUNT_MAX)?)
            }
            DiscountSeed::Percent(percent) => {
                let percent = whole(field("discount.percent"), percent, 1, 100)?;
                Discount::Percent(u8::try_from(percent).unwrap_or(100))
            }
        };
        let minimum_price = match &self.minimum_price {
            Some(minimum) => whole(field("minimum_price"), minimum, 0, AMOUNT_MAX)?,
            None => 0,
        };
        let validity = self.validity(at)?;
        let claims_from = optional_instant(&field("claims_from"), self.claims_from.as_deref())?;
        if let (Some(from), Some(until)) = (claims_from, validity.until)
            && from >= until
        {
            return Err(invalid(field("claims_from"), "must be before valid_until"));
        }
        let claim_in_purchase = self.claim_in_purchase.unwrap_or(true);
        if claims_from.is_none() && !claim_in_purchase {
            return Err(invalid(
                field("claim_in_purchase"),
                "must be true when claims_from is absent: nobody could have a coupon",
            ));
        }
        Ok(Campaign {
            campaign: CampaignId::parse(self.campaign.as_str())
                .map_err(|why| invalid(field("campaign"), why))?,
            name: name(field("name"), &self.name)?,
            size: whole_u32(field("size"), &self.size, 0, UNITS_MAX)?,
            discount,
            minimum_price,
            validity,
            claims_from,
            claim_in_purchase,
        })
    }

    fn validity(&self, at: &str) -> Checked<Validity> {
        let until_field = format!("{at}.valid_until");
        let from = optional_instant(&format!("{at}.valid_from"), self.valid_from.as_deref())?;
        let until = optional_instant(&until_field, self.valid_until.as_deref())?;
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            return Err(invalid(until_field, "must be after valid_from"));
        }
        Ok(Validity { from, until })
    }
}

fn invalid(field: impl Into<String>, problem: impl Display) -> InvalidSeed {
    InvalidSeed {
        field: field.into(),
        problem: problem.to_string(),
    }
}

fn name(field: impl Into<String>, text: &str) -> Checked<String> {
    let chars = text.chars().count();
    if (1..=NAME_CHARS_MAX).contains(&chars)
        && !text.chars().any(char::is_control)
        && !text.trim().is_empty()
    {
        return Ok(text.to_owned());
    }
    Err(invalid(
        field,
        format!(
            "must be 1 to {NAME_CHARS_MAX} characters, not all of them blank, none of them a control"
        ),
    ))
}

/// An instant to the microsecond, so that what is stored is what was said; not before 1970.
pub fn instant(field: &str, text: &str) -> Result<Timestamp, InvalidSeed> {
    let parsed = text.parse::<jiff::Timestamp>().ok();
    let parsed = parsed.map(jiff::Timestamp::as_microsecond);
    parsed
        // The last second of the calendar can be read, and not be written again.
        .filter(|micros| *micros >= 0 && jiff::Timestamp::from_microsecond(*micros).is_ok())
        .map(Timestamp)
        .ok_or_else(|| {
            invalid(
                field,
                "must be an RFC 3339 time such as 2026-05-01T09:00:00Z, from 1970 on",
            )
        })
}

/// A sale closes after it opens, by a millisecond at least: the gate's clock knows nothing smaller.
pub fn check_hours(opens_at: Timestamp, closes_at: Timestamp) -> Result<(), InvalidSeed> {
    if opens_at.0.div_euclid(1_000) < closes_at.0.div_euclid(1_000) {
        return Ok(());
    }
    Err(invalid("closes_at", "must be after opens_at"))
}

fn optional_instant(field: &str, text: Option<&str>) -> Checked<Option<Timestamp>> {
    text.map(|text| instant(field, text)).transpose()
}

fn whole(
    field: impl Into<String>,
    number: &serde_json::Number,
    min: u64,
    max: u64,
) -> Checked<u64> {
    match number.as_u64() {
        Some(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(invalid(
            field,
            format!("must be a whole number from {min} to {max}"),
        )),
    }
}

fn whole_u32(
    field: impl Into<String>,
    number: &serde_json::Number,
    min: u64,
    max: u64,
) -> Checked<u32> {
    let value = whole(field, number, min, max.min(u64::from(u32::MAX)))?;
    Ok(u32::try_from(value).unwrap_or(u32::MAX))
}

fn unique<'a>(list: &str, field: &str, names: impl Iterator<Item = &'a str>) -> Checked<()> {
    let mut seen = HashSet::new();
    for (index, name) in names.enumerate() {
        if !seen.insert(name) {
            return Err(invalid(
                format!("{list}[{index}].{field}"),
                format!("`{name}` is named twice"),
            ));
        }
    }
    Ok(())
}
