//! What can go wrong with the path of the clients.

use std::io;
use std::net::IpAddr;

/// The path of the clients could not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel gives no socket to change packet filters with.
    #[error(
        "cannot ask the kernel about packet filters; it must have nf_tables, as those of all distributions do"
    )]
    NoSocket(#[source] io::Error),
    /// There is no program `nft`.
    #[error(
        "cannot make the packet filter of the floating addresses: `nft` is missing on this node; install the package nftables"
    )]
    NoProgram(#[source] io::Error),
    /// `nft` could not be run.
    #[error("cannot make the packet filter of the floating addresses: cannot run `nft`")]
    CannotRun(#[source] io::Error),
    /// `nft` refused.
    #[error("cannot make the packet filter of the floating addresses: `nft` says: {0}")]
    Refused(String),
    /// The table is not there: never made, or something deleted it, and the addresses with it are open to everybody.
    #[error(
        "cannot change who reaches {}: the table `inet interlock` is not there; it was deleted if it had been made, as by `nft flush ruleset`",
        show(.0)
    )]
    NoTable(Vec<IpAddr>),
    /// What allows to open the path has expired: the process was not run for too long.
    #[error("cannot open {}: this process did not run for a while, and what it knew before is too old", show(.0))]
    TooLate(Vec<IpAddr>),
    /// The kernel refused.
    #[error("cannot change who reaches {}", show(addresses))]
    Kernel {
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// What the kernel said. `EPERM`: the agent lacks `CAP_NET_ADMIN`.
        source: io::Error,
    },
}

fn show(addresses: &[IpAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(", ")
}
