//! The connections that processes have to an address, as the kernel lists them (proc(5), `/proc/PID/net/tcp`).
//!
//! nginx itself does not tell how many sessions a member has. Its workers' connections to the member are just that: one
//! per request that is answered, one per WebSocket for as long as it lasts.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::shim::ProcessRef;

/// States of a connection that carries something, or is about to (include/net/tcp_states.h).
const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;

/// How many connections these processes have to any of these addresses. All of them are in one network namespace.
pub(super) fn count(of: &BTreeSet<ProcessRef>, to: &[SocketAddr]) -> io::Result<u64> {
    let Some(first) = of.first() else {
        return Ok(0);
    };
    let mut inodes = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        match fs::read_to_string(format!("/proc/{}/net/{table}", first.pid)) {
            Ok(text) => inodes.extend(text.lines().filter_map(|line| inode(line, to))),
            // A kernel without IPv6, or a process that is just gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let mut found = 0;
    for process in of.iter().filter(|_| !inodes.is_empty()) {
        let files = match fs::read_dir(format!("/proc/{}/fd", process.pid)) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for file in files.filter_map(Result::ok) {
            let link = fs::read_link(file.path()).unwrap_or_default();
            let socket = link.to_str().and_then(|it| it.strip_prefix("socket:["));
            let inode = socket.and_then(|it| it.strip_suffix(']')?.parse::<u64>().ok());
            found += u64::from(inode.is_some_and(|inode| inodes.contains(&inode)));
        }
    }
    Ok(found)
}

/// The inode of the connection in a line of the table, if it leads to one of these addresses.
fn inode(line: &str, to: &[SocketAddr]) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace();
    let remote = address(fields.nth(2)?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let leads_there = to
        .iter()
        .any(|to| to.ip().to_canonical() == remote.ip() && to.port() == remote.port());
    if !leads_there || !matches!(state, ESTABLISHED | SYN_SENT) {
        return None;
    }
    fields.nth(5)?.parse().ok()
}

/// `0100007F:1F90`: words of 32 bits in the machine's order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let mut bytes = Vec::new();
    for word in ip.as_bytes().chunks(8) {
        let word = u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(SocketAddr::new(
        ip.to_canonical(),
        u16::from_str_radix(port, 16).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_connections_of_a_process_to_an_address_are_counted_and_no_others() {
        let of = BTreeSet::from([ProcessRef::of(std::process::id()).unwrap()]);
        for host in ["127.0.0.1", "[::1]"] {
            let Ok(listener) = TcpListener::bind(format!("{host}:0")) else {
                continue;
            };
            let to = listener.local_addr().unwrap();
            assert_eq!(count(&of, &[to]).unwrap(), 0);
            let first = TcpStream::connect(to).unwrap();
            let second = TcpStream::connect(to).unwrap();
            assert_eq!(count(&of, &[to]).unwrap(), 2);
            drop(first);
            assert_eq!(count(&of, &[to]).unwrap(), 1);
            drop(second);
        }
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        if cfg!(target_endian = "little") {
            assert_eq!(address("0100007F:1F90"), "127.0.0.1:8080".parse().ok());
            assert_eq!(
                address("00000000000000000000000001000000:0050"),
                "[::1]:80".parse().ok()
            );
        }
        assert_eq!(address("rem_address"), None);
    }
}
