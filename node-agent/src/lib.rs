//! 

pub mod config;
mod group;
pub mod ledger;
pub mod power;
pub mod shim;
pub mod systemd;
