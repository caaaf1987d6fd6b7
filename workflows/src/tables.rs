//! The shop's tables, as the steps, the catalogue, the rebuild and the checks name them; `migrations/*/0002_shop.sql`
//! creates them.

use engine::planted;
use engine::store::{self, Migration, Table};

/// The schema: the engine's migrations and the shop's.
#[must_use]
pub fn migrations() -> Vec<Migration> {
    let mut migrations = store::migrations();
    migrations.push(Migration {
        version: 2,
        name: "shop",
        mysql: unguarded(include_str!("../../migrations/mysql/0002_shop.sql")),
        sqlite: unguarded(include_str!("../../migrations/sqlite/0002_shop.sql")),
    });
    migrations
}

/// The schema as it is, but where the defect is planted.
fn unguarded(schema: &'static str) -> &'static str {
    planted::edited(schema, "stock-not-guarded", " AND sold + held <= total", "")
}

/// What is sold, and when. What was seeded stays, but for the schedule, whose every change takes the next revision.
pub static SALES: Table = Table {
    name: "sales",
    key: &["sale"],
    columns: &[
        "name",
        "currency",
        "opens_us",
        "closes_us",
        "per_buyer_limit",
        "hold_seconds",
        "revision",
        "cancelled",
        "opened_us",
        "closed_us",
        "seeded_opens_us",
        "seeded_closes_us",
    ],
};

/// The products of sales: never changed once they are written, but for their recall.
pub static PRODUCTS: Table = Table {
    name: "products",
    key: &["sale", "product"],
    columns: &["name", "unit_price", "pooled", "recalled"],
};

/// The counters of products. A CHECK keeps `held` and `sold` from passing `total`: the guard that does not trust the gate.
pub static STOCK: Table = Table {
    name: "stock",
    key: &["sale", "product"],
    columns: &["total", "held", "sold"],
};

/// Coupon campaigns. A CHECK keeps `issued` from passing `size`.
pub static CAMPAIGNS: Table = Table {
    name: "campaigns",
    key: &["campaign"],
    columns: &[
        "sale",
        "name",
        "size",
        "discount_kind",
        "discount_value",
        "minimum_price",
        "valid_from_us",
        "valid_until_us",
        "claims_from_us",
        "in_purchase",
        "issued",
    ],
};

/// Claimed coupons: the key allows a buyer one of a campaign.
pub static COUPONS: Table = Table {
    name: "coupons",
    key: &["campaign", "buyer"],
    columns: &["claimed_by", "purchase_id", "state", "claimed_us"],
};

/// A coupon in one of its states: a change is refused when it is in another.
pub static COUPON_STATES: Table = Table {
    name: "coupons",
    key: &["campaign", "buyer", "state"],
    columns: &["claimed_by", "purchase_id", "claimed_us"],
};

/// The units that open purchases hold.
pub static HOLDS: Table = Table {
    name: "holds",
    key: &["sale", "workflow_id", "product"],
    columns: &["buyer", "quantity"],
};

/// A sale as of one revision of its schedule: a change is refused when the schedule was changed meanwhile.
pub static SCHEDULES: Table = Table {
    name: "sales",
    key: &["sale", "revision"],
    columns: &[
        "opens_us",
        "closes_us",
        "cancelled",
        "opened_us",
        "closed_us",
    ],
};

/// The purchases of each buyer.
pub static PURCHASES: Table = Table {
    name: "purchases",
    key: &["buyer", "created_us", "workflow_id"],
    columns: &[],
};

/// The pools of serial numbers.
pub static SERIALS: Table = Table {
    name: "serials",
    key: &["sale", "serial"],
    columns: &["product"],
};

/// What was taken from the pools.
pub static SERIAL_CLAIMS: Table = Table {
    name: "serial_claims",
    key: &["sale", "serial"],
    columns: &["product", "workflow_id", "line_number", "unit"],
};

/// The same by the purchase that took them: nothing of another one is given back.
pub static SERIALS_OF_PURCHASES: Table = Table {
    name: "serial_claims",
    key: &["sale", "serial", "workflow_id"],
    columns: &[],
};

/// The families of refresh tokens.
pub static TOKEN_FAMILIES: Table = Table {
    name: "token_families",
    key: &["family"],
    columns: &["generation", "subject", "revoked", "expires_us"],
};

/// A family as of the token that is good now: a change is refused when another token has become the good one meanwhile.
pub static GOOD_TOKENS: Table = Table {
    name: "token_families",
    key: &["family", "generation"],
    columns: &["revoked", "expires_us"],
};

/// Issued goods, one row a unit.
pub static GOODS: Table = Table {
    name: "goods",
    key: &["sale", "serial"],
    columns: &["workflow_id", "line_number", "product", "buyer", "price"],
};

/// The rebuilds of the gate, by the generation that each of them took.
pub static GATE_REBUILDS: Table = Table {
    name: "gate_rebuilds",
    key: &["generation"],
    columns: &["incarnation", "finished", "started_us"],
};
