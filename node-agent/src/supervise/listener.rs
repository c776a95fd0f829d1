//! Whose listening socket is it that answers on an address?
//!
//! A connection that is accepted proves that somebody listens, not that it is the process that was just started: its port
//! may be taken by something else, and the process be about to die of that. The kernel tells which sockets listen
//! (`/proc/net/tcp` and `tcp6`, proc_pid_net(5)), and which process has a socket open (`/proc/PID/fd`, a link to
//! `socket:[INODE]`, proc_pid_fd(5)). Other processes' descriptors may be seen by root, and by the same user.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state of a listening socket (`TCP_LISTEN`, include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// Who listens on an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// One of the processes in question.
    Own,
    /// Another process, and which if that can be seen.
    Other(Option<String>),
    /// Nobody in this machine's network: the address leads elsewhere, or into a network namespace.
    Elsewhere,
    /// It cannot be told: the descriptors of a process in question may not be read.
    Unseen,
}

/// Who listens where a connection to `address` ends, seen from these processes. Blocks: it reads `/proc`.
pub(super) fn owner(address: SocketAddr, pids: &[u32]) -> io::Result<Owner> {
    let mut sockets = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match fs::read_to_string(table) {
            Ok(text) => sockets.extend(text.lines().skip(1).filter_map(Socket::parse)),
            // A kernel without IPv6.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let inodes = listening(&sockets, address);
    if inodes.is_empty() {
        return Ok(Owner::Elsewhere);
    }
    let mut unseen = false;
    for pid in pids {
        match has_open(*pid, &inodes) {
            Ok(true) => return Ok(Owner::Own),
            Ok(false) => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => unseen = true,
            Err(error) => return Err(error),
        }
    }
    Ok(if unseen {
        Owner::Unseen
    } else {
        Owner::Other(holder(&inodes))
    })
}

/// A listening socket.
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    local: SocketAddr,
    inode: u64,
}

impl Socket {
    /// A line of the tables; none if the socket does not listen.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?;
        if fields.nth(1)? != LISTEN {
            return None;
        }
        Some(Self {
            local: parse_address(local)?,
            // After the state: queues, timer, retransmissions, uid, timeout.
            inode: fields.nth(5)?.parse().ok()?,
        })
    }
}

/// `0100007F:1F90`: words of 32 bits in the byte order of the machine, and the port as a number.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for at in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let address = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?),
    };
    Some(SocketAddr::new(address.to_canonical(), port))
}

/// The sockets that a connection to this address is taken by: those of exactly this address before those of any.
fn listening(sockets: &[Socket], address: SocketAddr) -> BTreeSet<u64> {
    let wanted = match address.ip().to_canonical() {
        // The kernel takes a connection to no address for one to itself.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        given => given,
    };
    let with = |fits: &dyn Fn(IpAddr) -> bool| -> BTreeSet<u64> {
        let on_port = sockets
            .iter()
            .filter(|socket| socket.local.port() == address.port());
        let fitting = on_port.filter(|socket| fits(socket.local.ip()));
        fitting.map(|socket| socket.inode).collect()
    };
    let exact = with(&|local| local == wanted);
    if exact.is_empty() {
        // `::` takes IPv4 as well, unless it was told not to.
        with(&|local| local.is_unspecified() && (local.is_ipv6() || wanted.is_ipv4()))
    } else {
        exact
    }
}

/// Has a process one of these sockets open? One that is gone has none.
fn has_open(pid: u32, inodes: &BTreeSet<u64>) -> io::Result<bool> {
    let descriptors = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(descriptors) => descriptors,
        Err(error) if is_gone(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    for descriptor in descriptors {
        // It may be closed by now.
        let Ok(target) = descriptor.and_then(|descriptor| fs::read_link(descriptor.path())) else {
            continue;
        };
        let inode = target.to_str().and_then(|target| {
            target
                .strip_prefix("socket:[")?
                .strip_suffix(']')?
                .parse()
                .ok()
        });
        if inode.is_some_and(|inode| inodes.contains(&inode)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// ESRCH is what a process answers that ends while it is looked at.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// The first process of the machine that has one of these sockets open, for people: `pid 4711 (nginx)`.
fn holder(inodes: &BTreeSet<u64>) -> Option<String> {
    let pids = fs::read_dir("/proc").ok()?;
    let mut pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| has_open(*pid, inodes).unwrap_or(false))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("pid {pid} ({})", name.trim_end()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_socket_of_this_process_is_found_as_its_own_and_not_as_that_of_another() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue; // A machine without IPv6.
            };
            let bound = listener.local_addr().unwrap();
            let own = std::process::id();
            assert_eq!(owner(bound, &[own]).unwrap(), Owner::Own, "{bound}");
            let Owner::Other(Some(holder)) = owner(bound, &[]).unwrap() else {
                panic!("{bound}")
            };
            assert!(holder.starts_with(&format!("pid {own} (")), "{holder}");
        }
    }

    #[test]
    fn a_socket_of_any_address_answers_for_each_unless_one_listens_on_exactly_that() {
        let any = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = any.local_addr().unwrap().port();
        let own = [std::process::id()];
        let loopback = SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(owner(loopback, &own).unwrap(), Owner::Own);

        let socket = |local: &str, inode| Socket {
            local: local.parse().unwrap(),
            inode,
        };
        let sockets = [
            socket("0.0.0.0:80", 1),
            socket("10.0.0.1:80", 2),
            socket("[::]:81", 3),
        ];
        let found = |address: &str| listening(&sockets, address.parse().unwrap());
        assert_eq!(found("10.0.0.1:80"), BTreeSet::from([2]));
        assert_eq!(found("10.0.0.2:80"), BTreeSet::from([1]));
        assert_eq!(found("10.0.0.2:81"), BTreeSet::from([3]));
        assert_eq!(found("[::1]:80"), BTreeSet::new());
    }

    #[test]
    fn where_nobody_listens_here_it_is_elsewhere() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(owner(address, &[1]).unwrap(), Owner::Elsewhere);
    }

    #[test]
    fn a_line_of_the_table_is_read_in_the_order_of_the_machine() {
        if cfg!(target_endian = "big") {
            return;
        }
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0";
        let read = Socket::parse(line).unwrap();
        assert_eq!(
            (read.local.to_string().as_str(), read.inode),
            ("127.0.0.1:8080", 4711)
        );
        let connected = line.replace(" 0A ", " 01 ");
        assert_eq!(Socket::parse(&connected), None);
    }
}
