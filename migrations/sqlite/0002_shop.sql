-- The shop: what is sold, the counters that guard it, and what buyers hold, use and own.
-- Times are microseconds since 1970-01-01T00:00:00Z. Money is in minor units. `workflow_id` is the 16 bytes of a workflow's id.
-- Slugs are compared byte by byte, and every access is by a primary key or its beginning.

CREATE TABLE sales (
    sale            TEXT NOT NULL,
    name            TEXT NOT NULL,
    currency        TEXT NOT NULL,
    opens_us        INTEGER NOT NULL,
    closes_us       INTEGER NOT NULL,
    per_buyer_limit INTEGER NOT NULL,
    PRIMARY KEY (sale),
    CONSTRAINT sales_open_before_they_close CHECK (opens_us < closes_us)
) STRICT, WITHOUT ROWID;

CREATE TABLE products (
    sale       TEXT NOT NULL,
    product    TEXT NOT NULL,
    name       TEXT NOT NULL,
    unit_price INTEGER NOT NULL,
    PRIMARY KEY (sale, product)
) STRICT, WITHOUT ROWID;

-- One hot row a product, apart from what never changes.
CREATE TABLE stock (
    sale    TEXT NOT NULL,
    product TEXT NOT NULL,
    total   INTEGER NOT NULL,
    held    INTEGER NOT NULL,
    sold    INTEGER NOT NULL,
    PRIMARY KEY (sale, product),
    CONSTRAINT stock_is_not_oversold CHECK (held >= 0 AND sold >= 0 AND sold + held <= total)
) STRICT, WITHOUT ROWID;

CREATE TABLE campaigns (
    campaign       TEXT NOT NULL,
    sale           TEXT NOT NULL,
    name           TEXT NOT NULL,
    size           INTEGER NOT NULL,
    -- 'amount' (minor units) or 'percent'
    discount_kind  TEXT NOT NULL,
    discount_value INTEGER NOT NULL,
    minimum_price  INTEGER NOT NULL,
    issued         INTEGER NOT NULL,
    PRIMARY KEY (campaign),
    CONSTRAINT campaigns_are_not_overdrawn CHECK (issued >= 0 AND issued <= size)
) STRICT, WITHOUT ROWID;

CREATE INDEX campaigns_by_sale ON campaigns (sale);

-- The key is the rule: one coupon of a campaign for a buyer.
CREATE TABLE coupons (
    campaign    TEXT NOT NULL,
    buyer       TEXT NOT NULL,
    workflow_id BLOB NOT NULL,
    -- 0 while it is held, 1 when the goods were issued
    used        INTEGER NOT NULL,
    PRIMARY KEY (campaign, buyer)
) STRICT, WITHOUT ROWID;

CREATE TABLE holds (
    sale        TEXT NOT NULL,
    workflow_id BLOB NOT NULL,
    product     TEXT NOT NULL,
    buyer       TEXT NOT NULL,
    quantity    INTEGER NOT NULL,
    PRIMARY KEY (sale, workflow_id, product),
    CONSTRAINT holds_hold_something CHECK (quantity > 0)
) STRICT, WITHOUT ROWID;

-- Serial numbers are unique in a sale by this key, and across sales by the hash that they end with.
CREATE TABLE goods (
    sale        TEXT NOT NULL,
    serial      TEXT NOT NULL,
    workflow_id BLOB NOT NULL,
    line_number INTEGER NOT NULL,
    product     TEXT NOT NULL,
    buyer       TEXT NOT NULL,
    price       INTEGER NOT NULL,
    PRIMARY KEY (sale, serial)
) STRICT, WITHOUT ROWID;

-- Each rebuild of the gate takes the next generation: the key lets only one rebuild have it.
CREATE TABLE gate_rebuilds (
    generation  INTEGER NOT NULL,
    -- the store that was rebuilt
    incarnation TEXT NOT NULL,
    -- 1 when every sale was loaded and the gate was opened
    finished    INTEGER NOT NULL,
    started_us  INTEGER NOT NULL,
    PRIMARY KEY (generation)
) STRICT, WITHOUT ROWID;
