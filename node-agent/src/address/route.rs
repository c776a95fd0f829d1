//! Interfaces and their addresses, as rtnetlink(7) has them.

use std::io;
use std::net::IpAddr;

use interlock_model::address::FloatingAddress;
use rustix::io::Errno;

use super::Mac;
use super::netlink::{ACK, Body, CREATE, DUMP, EXCLUSIVE, REQUEST, Socket, attributes, half, word};

const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;

/// Attributes of a link (`linux/if_link.h`).
const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_COUNTS: u16 = 23;
/// Attributes of an address (`linux/if_addr.h`).
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;

/// Size of `struct ifinfomsg`.
const LINK_FIXED: usize = 16;
/// Size of `struct ifaddrmsg`.
const ADDRESS_FIXED: usize = 8;

/// Flags of an interface (netdevice(7)).
const UP: u32 = 0x1;
const NO_ARP: u32 = 0x80;
const LOWER_UP: u32 = 0x1_0000;

/// `AF_UNSPEC`: a listing of all families.
const ANY_FAMILY: u8 = 0;

/// `RT_SCOPE_UNIVERSE`.
const EVERYWHERE: u8 = 0;

/// `ARPHRD_ETHER`.
const ETHERNET: u16 = 1;

/// `IFA_F_NODAD`: usable at once. Duplicates are looked for before an address moves, and a second of waiting for it here
/// would be a second of outage.
const NO_DUPLICATE_DETECTION: u8 = 0x02;

/// How often a listing is begun anew when something changes meanwhile.
const LISTINGS: usize = 8;

/// An interface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// Its number.
    pub(super) index: u32,
    /// It is switched on.
    pub(super) up: bool,
    /// It can send and receive.
    pub(super) carrier: bool,
    /// Its address, if it is on an Ethernet where neighbours look for each other.
    pub(super) mac: Option<Mac>,
    /// How many packets it has received.
    pub(super) received: Option<u64>,
}

/// The interface of this name, if there is one.
pub(super) fn link(socket: &mut Socket, name: &str) -> io::Result<Option<Link>> {
    let mut found = None;
    let asked = socket.exchange(
        |messages| {
            messages.push(GET_LINK, REQUEST | ACK, |body| {
                body.fixed(&[0; LINK_FIXED]).text(LINK_NAME, name);
            });
        },
        |kind, body| {
            if kind == NEW_LINK {
                found = read_link(body);
            }
        },
    );
    match asked {
        Err(error) if is(&error, Errno::NODEV) => Ok(None),
        Err(error) => Err(error),
        Ok(()) => Ok(found),
    }
}

fn read_link(body: &[u8]) -> Option<Link> {
    let hardware = half(body, 2)?;
    let flags = word(body, 8)?;
    let neighbours = hardware == ETHERNET && flags & NO_ARP == 0;
    let mac = attributes(body.get(LINK_FIXED..)?)
        .find(|(kind, _)| *kind == LINK_ADDRESS && neighbours)
        .and_then(|(_, value)| value.try_into().ok().map(Mac));
    // `rtnl_link_stats64` begins with it.
    let received = attributes(body.get(LINK_FIXED..)?)
        .find(|(kind, _)| *kind == LINK_COUNTS)
        .and_then(|(_, value)| value.first_chunk().copied().map(u64::from_ne_bytes));
    Some(Link {
        index: word(body, 4)?,
        up: flags & UP != 0,
        carrier: flags & LOWER_UP != 0,
        mac,
        received,
    })
}

/// Switches an interface on or off, which it may be already.
pub(super) fn switch(socket: &mut Socket, link: Link, up: bool) -> io::Result<()> {
    let flags = if up { UP } else { 0 };
    let write = |body: &mut Body<'_>| {
        body.fixed(&[0; 4])
            .fixed(&link.index.to_ne_bytes())
            .fixed(&flags.to_ne_bytes())
            .fixed(&UP.to_ne_bytes());
    };
    socket.exchange(
        |messages| messages.push(NEW_LINK, REQUEST | ACK, write),
        |_, _| {},
    )
}

/// Puts an address on an interface, where it may be already.
pub(super) fn add(socket: &mut Socket, link: Link, address: &FloatingAddress) -> io::Result<()> {
    let flags = REQUEST | ACK | CREATE | EXCLUSIVE;
    match change(
        socket,
        (NEW_ADDRESS, flags),
        link,
        address.ip,
        address.prefix,
    ) {
        Err(error) if is(&error, Errno::EXIST) => Ok(()),
        outcome => outcome,
    }
}

/// Takes an address off an interface, with whatever prefix it is there; looks that it is gone.
pub(super) fn remove(socket: &mut Socket, link: Link, ip: IpAddr) -> io::Result<()> {
    for _ in 0..LISTINGS {
        let prefixes = prefixes(socket, link, ip)?;
        if prefixes.is_empty() {
            return Ok(());
        }
        for prefix in prefixes {
            match change(socket, (DELETE_ADDRESS, REQUEST | ACK), link, ip, prefix) {
                Err(error) if is(&error, Errno::ADDRNOTAVAIL) => {}
                outcome => outcome?,
            }
        }
    }
    Err(io::Error::other("something keeps adding it again"))
}

/// The lengths of the prefixes with which an address is on an interface: none if it is not there.
pub(super) fn prefixes(socket: &mut Socket, link: Link, ip: IpAddr) -> io::Result<Vec<u8>> {
    let found = addresses(socket, link, family(ip))?.into_iter();
    let found = found.filter(|(other, _)| *other == ip);
    Ok(found.map(|(_, prefix)| prefix).collect())
}

/// The addresses of an interface that somebody elsewhere may reach beyond its link, in both families.
pub(super) fn reachable(socket: &mut Socket, link: Link) -> io::Result<Vec<IpAddr>> {
    let found = addresses(socket, link, ANY_FAMILY)?.into_iter();
    let found = found.map(|(ip, _)| ip);
    Ok(found.filter(|ip| scope(*ip) == EVERYWHERE).collect())
}

/// The addresses of an interface, each with the length of its prefix.
fn addresses(socket: &mut Socket, link: Link, family: u8) -> io::Result<Vec<(IpAddr, u8)>> {
    let mut outcome = Ok(Vec::new());
    for _ in 0..LISTINGS {
        let mut found = Vec::new();
        let listed = socket.exchange(
            |messages| {
                messages.push(GET_ADDRESS, REQUEST | DUMP, |body| {
                    let mut fixed = [0; ADDRESS_FIXED];
                    fixed[0] = family;
                    body.fixed(&fixed);
                });
            },
            |kind, body| {
                if kind == NEW_ADDRESS
                    && let Some((index, prefix, ip)) = read_address(body)
                    && index == link.index
                {
                    found.push((ip, prefix));
                }
            },
        );
        outcome = listed.map(|()| found);
        if !outcome.as_ref().is_err_and(|error| is(error, Errno::AGAIN)) {
            break;
        }
    }
    outcome
}

/// Interface, length of the prefix, address. With a peer `ADDRESS` is the peer's, and `LOCAL` this node's.
fn read_address(body: &[u8]) -> Option<(u32, u8, IpAddr)> {
    let mut address = None;
    for (kind, value) in attributes(body.get(ADDRESS_FIXED..)?) {
        if kind == LOCAL || (kind == ADDRESS && address.is_none()) {
            address = octets_to_ip(value);
        }
    }
    Some((word(body, 4)?, *body.get(1)?, address?))
}

fn change(
    socket: &mut Socket,
    (kind, flags): (u16, u16),
    link: Link,
    ip: IpAddr,
    prefix: u8,
) -> io::Result<()> {
    let write = |body: &mut Body<'_>| {
        let own_flags = match ip {
            IpAddr::V4(_) => 0,
            IpAddr::V6(_) => NO_DUPLICATE_DETECTION,
        };
        body.fixed(&[family(ip), prefix, own_flags, scope(ip)])
            .fixed(&link.index.to_ne_bytes());
        let octets = octets(ip);
        body.attribute(LOCAL, &octets).attribute(ADDRESS, &octets);
    };
    socket.exchange(|messages| messages.push(kind, flags, write), |_, _| {})
}

fn is(error: &io::Error, number: Errno) -> bool {
    Errno::from_io_error(error) == Some(number)
}

/// `AF_INET` or `AF_INET6`.
fn family(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 10,
    }
}

/// How far the address is valid (`rtm_scope` of rtnetlink(7)): this node, this link, everywhere.
fn scope(ip: IpAddr) -> u8 {
    match ip {
        _ if ip.is_loopback() => 254,
        IpAddr::V4(ip) if ip.is_link_local() => 253,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => 253,
        IpAddr::V4(_) | IpAddr::V6(_) => EVERYWHERE,
    }
}

/// The bytes of an address as they are in a packet.
pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn octets_to_ip(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}
