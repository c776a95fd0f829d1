//! 

pub mod config;
pub mod exec;
pub mod facts;
mod group;
pub mod ledger;
mod node_service;
pub mod notify;
pub mod power;
pub mod probe;
pub mod run;
pub mod session;
pub mod shim;
pub mod supervise;
pub mod systemd;
