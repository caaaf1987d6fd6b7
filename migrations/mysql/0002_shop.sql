-- The shop: what is sold, the counters that guard it, and what buyers hold, use and own.
-- Times are microseconds since 1970-01-01T00:00:00Z. Money is in minor units. `workflow_id` is the 16 bytes of a workflow's id.
-- Slugs are compared byte by byte, and every access is by a primary key or its beginning.

CREATE TABLE sales (
    sale            VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name            VARCHAR(200) CHARACTER SET utf8mb4 NOT NULL,
    currency        CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    opens_us        BIGINT NOT NULL,
    closes_us       BIGINT NOT NULL,
    per_buyer_limit INT NOT NULL,
    -- how long units are held for a buyer who authorises the payment, in seconds
    hold_seconds    INT NOT NULL,
    -- the number of the schedule: each change of it takes the next one
    revision        INT NOT NULL,
    -- 1 when it does not open any more
    cancelled       TINYINT NOT NULL,
    -- when its opening and its closing were recorded; 0 until then
    opened_us       BIGINT NOT NULL,
    closed_us       BIGINT NOT NULL,
    -- the hours that it was seeded with: the same seed again is known by them after it was rescheduled
    seeded_opens_us  BIGINT NOT NULL,
    seeded_closes_us BIGINT NOT NULL,
    PRIMARY KEY (sale),
    CONSTRAINT sales_have_one_schedule UNIQUE (sale, revision),
    CONSTRAINT sales_open_before_they_close CHECK (opens_us < closes_us)
) ENGINE = InnoDB;

CREATE TABLE products (
    sale       VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    product    VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name       VARCHAR(200) CHARACTER SET utf8mb4 NOT NULL,
    unit_price BIGINT NOT NULL,
    -- 1 when its serial numbers come from the pool in `serials`
    pooled     TINYINT NOT NULL,
    -- 1 when no more goods of it are issued: what is paid for is refunded
    recalled   TINYINT NOT NULL,
    PRIMARY KEY (sale, product)
) ENGINE = InnoDB;

-- One hot row a product, apart from what never changes.
CREATE TABLE stock (
    sale    VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    product VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    total   BIGINT NOT NULL,
    held    BIGINT NOT NULL,
    sold    BIGINT NOT NULL,
    PRIMARY KEY (sale, product),
    CONSTRAINT stock_is_not_oversold CHECK (held >= 0 AND sold >= 0 AND sold + held <= total)
) ENGINE = InnoDB;

CREATE TABLE campaigns (
    campaign       VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    sale           VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name           VARCHAR(200) CHARACTER SET utf8mb4 NOT NULL,
    size           BIGINT NOT NULL,
    -- 'amount' (minor units) or 'percent'
    discount_kind  VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    discount_value BIGINT NOT NULL,
    minimum_price  BIGINT NOT NULL,
    -- when its coupons can be used; NULL: whenever the sale is open
    valid_from_us  BIGINT NULL,
    valid_until_us BIGINT NULL,
    -- from when on they can be claimed ahead; NULL: never
    claims_from_us BIGINT NULL,
    -- 1 when a purchase may claim one
    in_purchase    TINYINT NOT NULL,
    issued         BIGINT NOT NULL,
    PRIMARY KEY (campaign),
    KEY campaigns_by_sale (sale),
    CONSTRAINT campaigns_are_not_overdrawn CHECK (issued >= 0 AND issued <= size)
) ENGINE = InnoDB;

-- The key is the rule: one coupon of a campaign for a buyer.
CREATE TABLE coupons (
    campaign    VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    buyer       VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- the workflow that claimed it: a claim ahead of the sale, or the purchase itself
    claimed_by  BINARY(16) NOT NULL,
    -- the purchase that reserved or used it; NULL while the buyer just has it
    purchase_id BINARY(16) NULL,
    -- 0 issued, 1 reserved by an open purchase, 2 used
    state       TINYINT NOT NULL,
    claimed_us  BIGINT NOT NULL,
    PRIMARY KEY (campaign, buyer),
    KEY coupons_by_buyer (buyer, campaign)
) ENGINE = InnoDB;

CREATE TABLE holds (
    sale        VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    workflow_id BINARY(16) NOT NULL,
    product     VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    buyer       VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    quantity    INT NOT NULL,
    PRIMARY KEY (sale, workflow_id, product),
    CONSTRAINT holds_hold_something CHECK (quantity > 0)
) ENGINE = InnoDB;

-- The purchases of a buyer, in the order in which they were made.
CREATE TABLE purchases (
    buyer       VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_us  BIGINT NOT NULL,
    workflow_id BINARY(16) NOT NULL,
    PRIMARY KEY (buyer, created_us, workflow_id)
) ENGINE = InnoDB;

-- The serial numbers that an operator gave for the goods of a product.
CREATE TABLE serials (
    sale    VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    serial  VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    product VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (sale, serial),
    KEY serials_by_product (sale, product, serial)
) ENGINE = InnoDB;

-- The serial numbers that were taken from the pool, each by one line of one purchase. A row without a product is no number: it
-- holds the place of a purchase that gave its numbers back and takes none any more.
CREATE TABLE serial_claims (
    sale        VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    serial      VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    product     VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    workflow_id BINARY(16) NOT NULL,
    line_number INT NOT NULL,
    -- from 0: two attempts at one line can't both take its numbers
    unit        INT NOT NULL,
    PRIMARY KEY (sale, serial),
    CONSTRAINT serial_claims_are_one_a_unit UNIQUE (workflow_id, line_number, unit)
) ENGINE = InnoDB;

-- Serial numbers are unique in a sale by this key, and across sales by the hash that they end with.
CREATE TABLE goods (
    sale        VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    serial      VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    workflow_id BINARY(16) NOT NULL,
    line_number INT NOT NULL,
    product     VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    buyer       VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    price       BIGINT NOT NULL,
    PRIMARY KEY (sale, serial)
) ENGINE = InnoDB;

-- Each rebuild of the gate takes the next generation: the key lets only one rebuild have it.
CREATE TABLE gate_rebuilds (
    generation  BIGINT NOT NULL,
    -- the store that was rebuilt
    incarnation VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- 1 when every sale was loaded and the gate was opened
    finished    TINYINT NOT NULL,
    started_us  BIGINT NOT NULL,
    PRIMARY KEY (generation)
) ENGINE = InnoDB;

-- One row for each sign-in: the refresh token that is good now. A token that was good before and comes again revokes the family.
CREATE TABLE token_families (
    family     BINARY(16) NOT NULL,
    -- the number of the token that is good now, from 1
    generation BIGINT NOT NULL,
    subject    VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- 1 when none of its tokens is good any more
    revoked    TINYINT NOT NULL,
    expires_us BIGINT NOT NULL,
    PRIMARY KEY (family),
    CONSTRAINT token_families_have_one_good_token UNIQUE (family, generation)
) ENGINE = InnoDB;
