//! What buyers see and can do: following a sale, coupons, buying, paying at the gateway, and being refused.

mod till;

mod addresses;
mod coupons;
mod history;
mod races;
mod redirect;
mod refusals;
mod waits;
mod webhooks;

mod openings;
mod stalled;
mod thousands;
