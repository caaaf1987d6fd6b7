//! Whatever is sent, the answer is a 4xx that names what is wrong, and nothing half-made is left behind.

mod cases;
mod purchases;
mod sales;
mod urls;
