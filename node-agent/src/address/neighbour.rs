//! Announcing an IPv6 address: unsolicited neighbour advertisements (RFC 4861, sections 4.4 and 7.2.6).

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};

use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, bind, ipproto, sendto, socket_with, sockopt,
};

use super::Mac;

/// `ff02::1`: everybody on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Type 136, code 0, and room for the checksum, which the kernel computes.
const ADVERTISEMENT: [u8; 4] = [136, 0, 0, 0];

/// The flag *override*: replace what is known. Not *solicited*, as nobody asked.
const OVERRIDE: [u8; 4] = [0x20, 0, 0, 0];

/// The option *target link-layer address*, of one times eight bytes.
const TARGET_LINK_LAYER_ADDRESS: [u8; 2] = [2, 1];

/// A receiver drops what has been forwarded: it must come with all hops left (RFC 4861 section 7.1.2).
const ALL_HOPS: u32 = 255;

/// Tells everybody on the link that this address is at this interface, `times` over.
pub(super) fn announce(index: u32, mac: Mac, ip: Ipv6Addr, times: u32) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(
        AddressFamily::INET6,
        SocketType::RAW,
        flags,
        Some(ipproto::ICMPV6),
    )?;
    sockopt::set_ipv6_multicast_if(&socket, index)?;
    sockopt::set_ipv6_multicast_hops(&socket, ALL_HOPS)?;
    sockopt::set_ipv6_multicast_loop(&socket, false)?;
    bind(&socket, &SocketAddrV6::new(ip, 0, 0, index))?;
    let packet = [
        ADVERTISEMENT.as_slice(),
        &OVERRIDE,
        &ip.octets(),
        &TARGET_LINK_LAYER_ADDRESS,
        &mac.0,
    ]
    .concat();
    for _ in 0..times {
        let everybody = SocketAddrV6::new(ALL_NODES, 0, 0, index);
        sendto(&socket, &packet, SendFlags::empty(), &everybody)?;
    }
    Ok(())
}
