//! The adapters behind the ports, each passing its port's contract suite.

pub mod catalogue;
pub mod embedded;
pub mod gateway_client;
pub mod gateway_ledger;
pub mod redis;
pub mod scripts;
pub mod serials;
