//! What can go wrong with an address.

use std::fmt;
use std::io;

use interlock_model::address::FloatingAddress;

/// Something could not be done with an address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel gives no socket to ask it with.
    #[error("cannot ask the kernel about addresses")]
    NoSocket(#[source] io::Error),
    /// The interface does not exist.
    #[error(
        "{0} cannot be here: this node has no such interface; `ip link` lists those that it has"
    )]
    NoInterface(FloatingAddress),
    /// The interface is switched off.
    #[error("{0} cannot be here: the interface is down; bring it up, as with `ip link set {i} up`", i = .0.interface)]
    Down(FloatingAddress),
    /// The interface has no link.
    #[error(
        "{0} cannot be here: the interface has no carrier; look at its cable, or at the port of its switch"
    )]
    NoCarrier(FloatingAddress),
    /// The address is to be announced by a node that does not have it.
    #[error("{0} is not on this node: only who has an address may announce it")]
    NotHere(FloatingAddress),
    /// The kernel refused.
    #[error("cannot {doing} {address}")]
    Refused {
        /// What was to be done.
        doing: Doing,
        /// With which address.
        address: FloatingAddress,
        /// What the kernel said. `EPERM`: the agent lacks `CAP_NET_ADMIN`, or `CAP_NET_RAW` for what goes to the link.
        source: io::Error,
    },
}

/// What can be done with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doing {
    /// Putting it on its interface.
    Add,
    /// Switching its interface on.
    Raise,
    /// Taking it off.
    Remove,
    /// Looking whether it is there.
    LookFor,
    /// Asking the link who else has it.
    ProbeFor,
    /// Telling the link that it is here.
    Announce,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "add",
            Self::Raise => "switch on the interface of",
            Self::Remove => "remove",
            Self::LookFor => "look for",
            Self::ProbeFor => "ask who else has",
            Self::Announce => "announce",
        })
    }
}
