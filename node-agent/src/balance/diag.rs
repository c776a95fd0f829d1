//! The connections of our own network namespace, asked of the kernel (sock_diag(7)).
//!
//! One question per family and port, a *dump* that the kernel answers at once, in messages of netlink(7):
//!
//! ```text
//! nlmsghdr │ inet_diag_req_v2: TCP, the states, the port ──►
//!                            ◄── nlmsghdr │ inet_diag_msg: state, addresses, inode    … until NLMSG_DONE
//! ```
//! The kernel looks at states and ports itself, so the answer is as long as there is something to tell.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// The type of the question, and of each answer (linux/sock_diag.h).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP` (linux/netlink.h).
const DUMP: u16 = 0x301;
/// Types of messages that end an answer (linux/netlink.h).
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_DUMP_INTR` (linux/netlink.h): something changed, and may be missing.
const INTERRUPTED: u16 = 0x10;
/// The header of a message: length, type, flags, number, port.
const HEADER: usize = 16;
/// The protocol asked about (`IPPROTO_TCP`).
const TCP: u8 = 6;
/// `1 << TCP_ESTABLISHED | 1 << TCP_SYN_SENT` (include/net/tcp_states.h): what carries something, or is about to.
const IN_USE: u32 = 1 << 1 | 1 << 2;
/// Where an answer (`inet_diag_msg`, linux/inet_diag.h) has its remote port, its remote address, and its inode.
const REMOTE_PORT: usize = 6;
const REMOTE_ADDRESS: usize = 24;
const INODE: usize = 68;
/// How much of an answer is read at once: the most that the kernel puts into one piece.
const PIECE: usize = 32 << 10;
/// How often an answer is asked for anew that was interrupted by a change.
const TRIES: usize = 5;

/// The sockets, by inode, of the connections to these addresses.
///
/// # Errors
/// The kernel does not answer, or not this question.
pub(super) fn inodes(to: &[SocketAddr]) -> io::Result<BTreeSet<u64>> {
    let to: BTreeSet<SocketAddr> = to
        .iter()
        .map(|to| SocketAddr::new(to.ip().to_canonical(), to.port()))
        .collect();
    let ports: BTreeSet<u16> = to.iter().map(SocketAddr::port).collect();
    let mut inodes = BTreeSet::new();
    for port in ports {
        // A socket of IPv6 may be connected to an address of IPv4.
        for family in [AddressFamily::INET, AddressFamily::INET6] {
            for (remote, inode) in ask(family, port)? {
                if to.contains(&remote) {
                    inodes.insert(inode);
                }
            }
        }
    }
    Ok(inodes)
}

/// All connections in use of a family to a port.
fn ask(family: AddressFamily, port: u16) -> io::Result<Vec<(SocketAddr, u64)>> {
    for _ in 0..TRIES {
        if let Some(found) = ask_once(family, port)? {
            return Ok(found);
        }
    }
    Err(io::Error::other(
        "connections change faster than the kernel lists them",
    ))
}

/// None if something has changed meanwhile.
fn ask_once(family: AddressFamily, port: u16) -> io::Result<Option<Vec<(SocketAddr, u64)>>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    send(&socket, &question(family, port), SendFlags::empty())?;
    let mut found = Vec::new();
    let mut whole = true;
    let mut piece = vec![0; PIECE];
    loop {
        let (length, _) = recv(&socket, piece.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = piece.get(..length).unwrap_or_default();
        while let Some((kind, flags, body, next)) = message(rest) {
            whole &= flags & INTERRUPTED == 0;
            match kind {
                // Both begin with a number; 0 is the good end, and for an error nonsense.
                DONE | ERROR => match field(body, 0).map_or(0, i32::from_ne_bytes) {
                    0 if kind == DONE => return Ok(whole.then_some(found)),
                    number => return Err(io::Error::from_raw_os_error(number.saturating_neg())),
                },
                _ => found.extend(connection(body)),
            }
            rest = next;
        }
        if !rest.is_empty() {
            return Err(io::Error::other("an answer of the kernel is cut off"));
        }
    }
}

/// A `nlmsghdr` and an `inet_diag_req_v2` (linux/inet_diag.h).
fn question(family: AddressFamily, port: u16) -> Vec<u8> {
    const LENGTH: u32 = 16 + 56;
    let family = u8::try_from(family.as_raw()).unwrap_or_default();
    let mut bytes = Vec::new();
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    // The number of the question, and the port of whoever asks, which the kernel knows.
    bytes.extend([0; 8]);
    // No extensions.
    bytes.extend([family, TCP, 0, 0]);
    bytes.extend(IN_USE.to_ne_bytes());
    // Any local port; the remote one.
    bytes.extend(0u16.to_be_bytes());
    bytes.extend(port.to_be_bytes());
    // Any address, any interface.
    bytes.extend([0; 16 + 16 + 4]);
    // No single socket.
    bytes.extend([0xff; 8]);
    bytes
}

/// The first message of these: its type, its flags, its body, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(field(bytes, 0)?)).ok()?;
    let kind = u16::from_ne_bytes(field(bytes, 4)?);
    let flags = u16::from_ne_bytes(field(bytes, 6)?);
    let body = bytes.get(HEADER..length)?;
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, flags, body, next))
}

/// Where a connection leads, and its socket.
fn connection(body: &[u8]) -> Option<(SocketAddr, u64)> {
    let port = u16::from_be_bytes(field(body, REMOTE_PORT)?);
    let ip = if u32::from(*body.first()?) == u32::from(AddressFamily::INET.as_raw()) {
        IpAddr::V4(Ipv4Addr::from(field::<4>(body, REMOTE_ADDRESS)?))
    } else {
        IpAddr::V6(Ipv6Addr::from(field::<16>(body, REMOTE_ADDRESS)?))
    };
    let inode = u32::from_ne_bytes(field(body, INODE)?);
    Some((SocketAddr::new(ip.to_canonical(), port), inode.into()))
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_or_nonsense_is_no_message() {
        let whole = question(AddressFamily::INET, 80);
        let (kind, flags, body, next) = message(&whole).unwrap();
        assert_eq!((kind, flags, body.len(), next.len()), (20, DUMP, 56, 0));
        for length in 0..whole.len() {
            assert_eq!(message(&whole[..length]), None);
        }
        let mut longer = whole.clone();
        longer[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(message(&longer), None);
        let mut shorter = whole;
        shorter[..4].fill(0);
        assert_eq!(message(&shorter), None, "it would never end");
        assert_eq!(connection(&[0; 40]), None);
    }

    #[test]
    fn what_the_kernel_does_not_know_is_an_error() {
        assert!(ask(AddressFamily::from_raw(99), 80).is_err());
    }
}
