//! 

mod group;
pub mod power;
pub mod shim;
pub mod systemd;
