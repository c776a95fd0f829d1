//! Addresses that move with a role.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The longest name of a network interface (`IFNAMSIZ` less its zero, netdevice(7)).
pub const LONGEST_INTERFACE: usize = 15;

/// An address that is on the node of the primary, and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FloatingAddress {
    /// The address.
    pub ip: IpAddr,
    /// The length of its network's prefix, in bits.
    pub prefix: u8,
    /// The interface that it is put on.
    pub interface: String,
    /// Is its interface the role's as a whole? Then that is switched on before the address comes, and off when it has gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole_interface: bool,
}

impl FloatingAddress {
    /// The longest prefix that an address of this family has.
    #[must_use]
    pub fn longest_prefix(ip: IpAddr) -> u8 {
        match ip {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        }
    }

    /// Can this be the name of an interface? As the kernel has it (`dev_valid_name`).
    #[must_use]
    pub fn is_interface(name: &str) -> bool {
        let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
        !name.is_empty()
            && name.len() <= LONGEST_INTERFACE
            && !matches!(name, "." | "..")
            && name.chars().all(allowed)
    }
}

impl fmt::Display for FloatingAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {}", self.ip, self.prefix, self.interface)?;
        f.write_str(if self.whole_interface {
            " as a whole"
        } else {
            ""
        })
    }
}
