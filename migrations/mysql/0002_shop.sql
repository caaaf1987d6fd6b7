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
    PRIMARY KEY (sale),
    CONSTRAINT sales_open_before_they_close CHECK (opens_us < closes_us)
) ENGINE = InnoDB;

CREATE TABLE products (
    sale       VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    product    VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name       VARCHAR(200) CHARACTER SET utf8mb4 NOT NULL,
    unit_price BIGINT NOT NULL,
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
    issued         BIGINT NOT NULL,
    PRIMARY KEY (campaign),
    KEY campaigns_by_sale (sale),
    CONSTRAINT campaigns_are_not_overdrawn CHECK (issued >= 0 AND issued <= size)
) ENGINE = InnoDB;

-- The key is the rule: one coupon of a campaign for a buyer.
CREATE TABLE coupons (
    campaign    VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    buyer       VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    workflow_id BINARY(16) NOT NULL,
    -- 0 while it is held, 1 when the goods were issued
    used        TINYINT NOT NULL,
    PRIMARY KEY (campaign, buyer)
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
