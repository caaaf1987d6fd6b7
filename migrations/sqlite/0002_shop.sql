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
    -- how long units are held for a buyer who authorises the payment, in seconds
    hold_seconds    INTEGER NOT NULL,
    -- the number of the schedule: each change of it takes the next one
    revision        INTEGER NOT NULL,
    -- 1 when it does not open any more
    cancelled       INTEGER NOT NULL,
    -- when its opening and its closing were recorded; 0 until then
    opened_us       INTEGER NOT NULL,
    closed_us       INTEGER NOT NULL,
    -- the hours that it was seeded with: the same seed again is known by them after it was rescheduled
    seeded_opens_us  INTEGER NOT NULL,
    seeded_closes_us INTEGER NOT NULL,
    PRIMARY KEY (sale),
    CONSTRAINT sales_have_one_schedule UNIQUE (sale, revision),
    CONSTRAINT sales_open_before_they_close CHECK (opens_us < closes_us)
) STRICT, WITHOUT ROWID;

CREATE TABLE products (
    sale       TEXT NOT NULL,
    product    TEXT NOT NULL,
    name       TEXT NOT NULL,
    unit_price INTEGER NOT NULL,
    -- 1 when its serial numbers come from the pool in `serials`
    pooled     INTEGER NOT NULL,
    -- 1 when no more goods of it are issued: what is paid for is refunded
    recalled   INTEGER NOT NULL,
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
    -- when its coupons can be used; NULL: whenever the sale is open
    valid_from_us  INTEGER NULL,
    valid_until_us INTEGER NULL,
    -- from when on they can be claimed ahead; NULL: never
    claims_from_us INTEGER NULL,
    -- 1 when a purchase may claim one
    in_purchase    INTEGER NOT NULL,
    issued         INTEGER NOT NULL,
    PRIMARY KEY (campaign),
    CONSTRAINT campaigns_are_not_overdrawn CHECK (issued >= 0 AND issued <= size)
) STRICT, WITHOUT ROWID;

CREATE INDEX campaigns_by_sale ON campaigns (sale);

-- The key is the rule: one coupon of a campaign for a buyer.
CREATE TABLE coupons (
    campaign    TEXT NOT NULL,
    buyer       TEXT NOT NULL,
    -- the workflow that claimed it: a claim ahead of the sale, or the purchase itself
    claimed_by  BLOB NOT NULL,
    -- the purchase that reserved or used it; NULL while the buyer just has it
    purchase_id BLOB NULL,
    -- 0 issued, 1 reserved by an open purchase, 2 used
    state       INTEGER NOT NULL,
    claimed_us  INTEGER NOT NULL,
    PRIMARY KEY (campaign, buyer)
) STRICT, WITHOUT ROWID;

CREATE INDEX coupons_by_buyer ON coupons (buyer, campaign);

CREATE TABLE holds (
    sale        TEXT NOT NULL,
    workflow_id BLOB NOT NULL,
    product     TEXT NOT NULL,
    buyer       TEXT NOT NULL,
    quantity    INTEGER NOT NULL,
    PRIMARY KEY (sale, workflow_id, product),
    CONSTRAINT holds_hold_something CHECK (quantity > 0)
) STRICT, WITHOUT ROWID;

-- The purchases of a buyer, in the order in which they were made.
CREATE TABLE purchases (
    buyer       TEXT NOT NULL,
    created_us  INTEGER NOT NULL,
    workflow_id BLOB NOT NULL,
    PRIMARY KEY (buyer, created_us, workflow_id)
) STRICT, WITHOUT ROWID;

-- The serial numbers that an operator gave for the goods of a product.
CREATE TABLE serials (
    sale    TEXT NOT NULL,
    serial  TEXT NOT NULL,
    product TEXT NOT NULL,
    PRIMARY KEY (sale, serial)
) STRICT, WITHOUT ROWID;

CREATE INDEX serials_by_product ON serials (sale, product, serial);

-- The serial numbers that were taken from the pool, each by one line of one purchase. A row without a product is no number: it
-- holds the place of a purchase that gave its numbers back and takes none any more.
CREATE TABLE serial_claims (
    sale        TEXT NOT NULL,
    serial      TEXT NOT NULL,
    product     TEXT NOT NULL,
    workflow_id BLOB NOT NULL,
    line_number INTEGER NOT NULL,
    -- from 0: two attempts at one line can't both take its numbers
    unit        INTEGER NOT NULL,
    PRIMARY KEY (sale, serial),
    CONSTRAINT serial_claims_are_one_a_unit UNIQUE (workflow_id, line_number, unit)
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

-- One row for each sign-in: the refresh token that is good now. A token that was good before and comes again revokes the family.
CREATE TABLE token_families (
    family     BLOB NOT NULL,
    -- the number of the token that is good now, from 1
    generation INTEGER NOT NULL,
    subject    TEXT NOT NULL,
    -- 1 when none of its tokens is good any more
    revoked    INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    PRIMARY KEY (family),
    CONSTRAINT token_families_have_one_good_token UNIQUE (family, generation)
) STRICT, WITHOUT ROWID;
