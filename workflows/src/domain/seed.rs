//! A sale as an operator describes it: checked as a whole, every problem named by its field, before anything is stored.

use std::collections::HashSet;
use std::fmt::Display;

use engine::Timestamp;
use serde::{Deserialize, Serialize};

use super::coupon::{Campaign, Discount};
use super::ids::{CampaignId, ProductId, SaleId};
use super::money::Currency;
use super::sale::{AMOUNT_MAX, Product, Sale};

/// Products or campaigns of one sale.
pub const ENTRIES_MAX: usize = 100;
/// Units of one product, and coupons of one campaign.
pub const UNITS_MAX: u64 = 100_000_000;
/// Units that one buyer may have: what keeps a purchase's goods in one step's output.
pub const PER_BUYER_LIMIT_MAX: u64 = 100;
/// The longest name for people, in characters.
pub const NAME_CHARS_MAX: usize = 200;

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

    /// The sale that this describes, or the first field that is wrong.
    pub fn check(&self) -> Checked<Sale> {
        let opens_at = instant("opens_at", &self.opens_at)?;
        let closes_at = instant("closes_at", &self.closes_at)?;
        if opens_at >= closes_at {
            return Err(invalid("closes_at", "must be after opens_at"));
        }
        Ok(Sale {
            sale: SaleId::parse(self.sale.as_str()).map_err(|why| invalid("sale", why))?,
            name: name("name", &self.name)?,
            currency: Currency::parse(&self.currency).map_err(|why| invalid("currency", why))?,
            opens_at,
            closes_at,
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
        Ok(Campaign {
            campaign: CampaignId::parse(self.campaign.as_str())
                .map_err(|why| invalid(field("campaign"), why))?,
            name: name(field("name"), &self.name)?,
            size: whole_u32(field("size"), &self.size, 0, UNITS_MAX)?,
            discount,
            minimum_price,
        })
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

/// An instant to the microsecond, so that what is stored is what was said.
fn instant(field: &str, text: &str) -> Checked<Timestamp> {
    let parsed: jiff::Timestamp = text.parse().map_err(|_| {
        invalid(
            field,
            "must be an RFC 3339 time such as 2026-05-01T09:00:00Z",
        )
    })?;
    Ok(Timestamp(parsed.as_microsecond()))
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
