//! 

pub mod config;
pub mod exec;
pub mod facts;
mod group;
pub mod ledger;
pub mod notify;
pub mod power;
pub mod probe;
pub mod session;
pub mod shim;
pub mod supervise;
pub mod systemd;
