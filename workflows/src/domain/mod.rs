//! The words of the domain: money, the newtypes that name a sale, a product, a campaign and a buyer, and what a sale, a
//! coupon and issued goods are. Pure: no I/O, no clock.

pub mod ids;
pub mod money;

pub mod address;
pub mod coupon;
pub mod goods;
pub mod sale;
pub mod seed;
