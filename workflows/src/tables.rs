//! The shop's tables, as the steps, the catalogue, the rebuild and the checks name them; `migrations/*/0002_shop.sql`
//! creates them.

use engine::store::{self, Migration, Table};

/// The schema: the engine's migrations and the shop's.
#[must_use]
pub fn migrations() -> Vec<Migration> {
    let mut migrations = store::migrations();
    migrations.push(Migration {
        version: 2,
        name: "shop",
        mysql: include_str!("../../migrations/mysql/0002_shop.sql"),
        sqlite: include_str!("../../migrations/sqlite/0002_shop.sql"),
    });
    migrations
}

/// What is sold, and when: never changed once it is written.
pub static SALES: Table = Table {
    name: "sales",
    key: &["sale"],
    columns: &[
        "name",
        "currency",
        "opens_us",
        "closes_us",
        "per_buyer_limit",
    ],
};

/// The products of sales: never changed once they are written.
pub static PRODUCTS: Table = Table {
    name: "products",
    key: &["sale", "product"],
    columns: &["name", "unit_price"],
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
        "issued",
    ],
};

/// Claimed coupons: the key allows a buyer one of a campaign.
pub static COUPONS: Table = Table {
    name: "coupons",
    key: &["campaign", "buyer"],
    columns: &["workflow_id", "used"],
};

/// The units that open purchases hold.
pub static HOLDS: Table = Table {
    name: "holds",
    key: &["sale", "workflow_id", "product"],
    columns: &["buyer", "quantity"],
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
