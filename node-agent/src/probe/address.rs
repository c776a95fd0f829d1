//! An IP address that is assigned to this machine.
//!
//! The quick test is to bind a UDP socket to it: the kernel refuses with `EADDRNOTAVAIL` what is not assigned (and an
//! IPv6 address whose duplicate detection is not over). It proves nothing where `net.ipv4.ip_nonlocal_bind` or its
//! IPv6 twin is set, as load balancers with a floating address often have it: there *every* address can be bound, on
//! both sides at once. In that case the kernel's tables decide: `/proc/net/fib_trie` for IPv4, `/proc/net/if_inet6`
//! for IPv6. Addresses belong to a network namespace; the agent's own is the one that is asked.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use interlock_model::check::ProbeResult;

use super::outcome::{bad, ok, unknown};

/// Flags of `/proc/net/if_inet6` (`linux/if_addr.h`) with which an address cannot be used yet, or not at all.
const TENTATIVE: u8 = 0x40;
const DAD_FAILED: u8 = 0x08;

pub(super) fn probe(text: &str) -> ProbeResult {
    let ip: IpAddr = match text.parse() {
        Ok(ip) => ip,
        Err(_) => return unknown(format!("'{text}' is not an IP address")),
    };
    if ip.is_unspecified() || ip.is_multicast() {
        return unknown(format!("{ip} is not an address that a machine can have"));
    }
    match assigned(ip) {
        Ok(true) => ok(format!("{ip} is on this machine")),
        Ok(false) => bad(format!("{ip} is not on this machine")),
        Err(error) => unknown(format!(
            "cannot tell whether {ip} is on this machine: {error}"
        )),
    }
}

fn assigned(ip: IpAddr) -> std::io::Result<bool> {
    match UdpSocket::bind((ip, 0)) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => return Ok(false),
        Err(error) => return Err(error),
    }
    if !any_can_be_bound(ip) {
        return Ok(true);
    }
    match ip {
        IpAddr::V4(ip) => Ok(in_fib_trie(
            &std::fs::read_to_string("/proc/net/fib_trie")?,
            ip,
        )),
        IpAddr::V6(ip) => Ok(in_if_inet6(
            &std::fs::read_to_string("/proc/net/if_inet6")?,
            ip,
        )),
    }
}

/// Whether the quick test proves nothing. If the setting cannot be read it is taken for set.
fn any_can_be_bound(ip: IpAddr) -> bool {
    let setting = match ip {
        IpAddr::V4(_) => "/proc/sys/net/ipv4/ip_nonlocal_bind",
        IpAddr::V6(_) => "/proc/sys/net/ipv6/ip_nonlocal_bind",
    };
    std::fs::read_to_string(setting).map_or(true, |value| value.trim() != "0")
}

/// A leaf `|-- ADDRESS` followed by `/32 host LOCAL`.
fn in_fib_trie(table: &str, ip: Ipv4Addr) -> bool {
    let mut leaf = None;
    table.lines().map(str::trim).any(|line| {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
            return false;
        }
        leaf == Some(ip) && line == "/32 host LOCAL"
    })
}

/// Lines `ADDRESS INDEX PREFIX SCOPE FLAGS NAME`, all but the name in hexadecimal.
fn in_if_inet6(table: &str, ip: Ipv6Addr) -> bool {
    let wanted = format!("{:032x}", u128::from(ip));
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let flags = fields
            .get(4)
            .and_then(|flags| u8::from_str_radix(flags, 16).ok());
        fields.first() == Some(&wanted.as_str())
            && flags.is_some_and(|flags| flags & (TENTATIVE | DAD_FAILED) == 0)
    })
}

#[cfg(test)]
mod tests {
    use interlock_model::check::Verdict;

    use super::*;

    #[test]
    fn the_loopback_address_is_here_and_a_documentation_address_is_not() {
        assert_eq!(probe("127.0.0.1").verdict, Verdict::Ok);
        assert_eq!(probe("192.0.2.1").verdict, Verdict::Bad);
        for nonsense in ["", "localhost", "10.0.0.1/24", "0.0.0.0", "224.0.0.1", "::"] {
            assert_eq!(probe(nonsense).verdict, Verdict::Unknown, "{nonsense}");
        }
    }

    const TRIE: &str = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.1.0.0\n        /24 link UNICAST\n     |-- 10.1.0.10\n        \
                        /32 host LOCAL\n     |-- 10.1.0.255\n        /32 link BROADCAST\n     |-- 10.1.0.99\n        \
                        /32 universe UNICAST\n     |-- 127.0.0.0\n        /8 host LOCAL\n";

    #[test]
    fn only_a_local_host_route_is_an_assigned_address() {
        let here = |ip: &str| in_fib_trie(TRIE, ip.parse().unwrap());
        assert!(here("10.1.0.10"));
        for absent in [
            "10.1.0.0",
            "10.1.0.255",
            "10.1.0.99",
            "10.1.0.1",
            "127.0.0.0",
        ] {
            assert!(!here(absent), "{absent}");
        }
    }

    #[test]
    fn the_table_of_this_machine_can_be_read() {
        let table = std::fs::read_to_string("/proc/net/fib_trie").unwrap();
        assert!(in_fib_trie(&table, Ipv4Addr::LOCALHOST), "{table}");
    }

    #[test]
    fn an_ipv6_address_counts_once_its_duplicate_detection_is_over() {
        let line = |flags| format!("20010db8000000000000000000000010 02 40 00 {flags} eth0\n");
        let ip = "2001:db8::10".parse().unwrap();
        assert!(in_if_inet6(&line("80"), ip));
        assert!(!in_if_inet6(&line("c0"), ip), "tentative");
        assert!(!in_if_inet6(&line("88"), ip), "duplicate");
        assert!(!in_if_inet6(&line("80"), "2001:db8::11".parse().unwrap()));
    }
}
