//! The connections of a network namespace, as `/proc/PID/net/tcp` lists them (proc(5)).
//!
//! Nearly all of a long table does not matter, so it is never held as a whole, and of a line no more is read than tells.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::shim::ProcessRef;

/// States of a connection that carries something, or is about to: `ESTABLISHED` and `SYN_SENT`, as the table writes them
/// (include/net/tcp_states.h).
const IN_USE: [&[u8]; 2] = [b"01", b"02"];

/// The sockets, by inode, of the connections to these addresses in the network namespace of a process.
pub(super) fn inodes(near: ProcessRef, to: &[SocketAddr]) -> io::Result<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        match File::open(format!("/proc/{}/net/{table}", near.pid)) {
            Ok(table) => inodes_in(BufReader::new(table), to, &mut inodes)?,
            // A kernel without IPv6, or a process that is just gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(inodes)
}

/// Adds the inodes of the connections that lead to one of these addresses.
fn inodes_in(
    mut table: impl BufRead,
    to: &[SocketAddr],
    inodes: &mut BTreeSet<u64>,
) -> io::Result<()> {
    let mut line = Vec::new();
    while table.read_until(b'\n', &mut line)? > 0 {
        inodes.extend(inode(&line, to));
        line.clear();
    }
    Ok(())
}

/// The inode of the connection in a line of the table, if it is in use and leads to one of these addresses.
fn inode(line: &[u8], to: &[SocketAddr]) -> Option<u64> {
    let mut fields = line
        .split(u8::is_ascii_whitespace)
        .filter(|it| !it.is_empty());
    let remote = fields.nth(2)?;
    // Before anything is made of the address: most lines end here.
    if !IN_USE.contains(&fields.next()?) {
        return None;
    }
    let remote = address(str::from_utf8(remote).ok()?)?;
    let leads_there = to
        .iter()
        .any(|to| to.ip().to_canonical() == remote.ip() && to.port() == remote.port());
    if !leads_there {
        return None;
    }
    str::from_utf8(fields.nth(5)?).ok()?.parse().ok()
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
    use super::*;

    #[test]
    fn what_is_over_or_listens_is_no_connection_in_use() {
        let to: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let in_state = |state: &str| {
            let ip = u32::from_ne_bytes([127, 0, 0, 1]);
            format!(
                "   1: 0100007F:9C4C {ip:08X}:1F90 {state} 00000000:00000000 00:00000000 00000000     0        0 4711 1\n"
            )
        };
        let table: String = (1..=12)
            .map(|state| in_state(&format!("{state:02X}")))
            .collect();
        for (state, line) in (1..).zip(table.lines()) {
            let expected = (state <= 2).then_some(4711);
            assert_eq!(inode(line.as_bytes(), &[to]), expected, "{line}");
        }
        let mut inodes = BTreeSet::new();
        inodes_in(table.as_bytes(), &[to], &mut inodes).unwrap();
        assert_eq!(inodes, BTreeSet::from([4711]));
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
