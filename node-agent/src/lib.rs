//! 

pub mod systemd;
