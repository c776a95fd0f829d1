//! Who has an IPv4 address on an Ethernet: ARP (RFC 826), as RFC 5227 uses it to find conflicts and to announce.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::Mac;
use super::port::Port;

/// `ETH_P_ARP`.
const ARP: [u8; 2] = [0x08, 0x06];

/// Hardware Ethernet, protocol IPv4, addresses of 6 and 4 bytes.
const ETHERNET_AND_IPV4: [u8; 6] = [0, 1, 0x08, 0, 6, 4];

const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// An Ethernet header and an ARP packet.
const SIZE: usize = 14 + 28;

/// How long an answer may take. RFC 5227 asks for seconds, for hosts that come to a strange network; the neighbours here are
/// servers on a switch, and the time is an outage.
const WAIT: Duration = Duration::from_millis(200);

/// How many probes go out in [`WAIT`], evenly: one or two of them, or their answers, may be lost (`PROBE_NUM` of RFC 5227).
const PROBES: u32 = 3;

/// Tells everybody on the link that this address is at this interface, `times` over.
///
/// In both forms each time: RFC 5227 announces with requests, and there are hosts and switches that believe only replies.
pub(super) fn announce(port: &Port, mac: Mac, ip: Ipv4Addr, times: u32) -> io::Result<()> {
    for _ in 0..times {
        port.send(&packet(REQUEST, mac, ip, Mac::NOBODY, ip))?;
        port.send(&packet(REPLY, mac, ip, mac, ip))?;
    }
    Ok(())
}

/// Asks the link who has an address, without claiming it; gives the first other interface that answers, or asks as well.
pub(super) fn conflict(port: &Port, mac: Mac, ip: Ipv4Addr) -> io::Result<Option<Mac>> {
    let probe = packet(REQUEST, mac, Ipv4Addr::UNSPECIFIED, Mac::NOBODY, ip);
    let start = Instant::now();
    for number in 1..=PROBES {
        port.send(&probe)?;
        let end = start + WAIT * number / PROBES;
        while let Some(heard) = port.receive(end)? {
            if let Some(other) = claims(&heard, ip).filter(|other| *other != mac) {
                return Ok(Some(other));
            }
        }
    }
    Ok(None)
}

/// Who has this address, or wants it, by a packet (RFC 5227 section 2.1.1): its sender, if that has the address, or if it
/// probes for it, which is to ask for it while having none.
fn claims(packet: &[u8], ip: Ipv4Addr) -> Option<Mac> {
    if packet.get(12..20)? != [ARP.as_slice(), &ETHERNET_AND_IPV4].concat() {
        return None;
    }
    let operation = u16::from_be_bytes(packet.get(20..22)?.try_into().ok()?);
    let sender = Mac(packet.get(22..28)?.try_into().ok()?);
    let address = |at: usize| -> Option<Ipv4Addr> {
        let four: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(four))
    };
    let probes = operation == REQUEST && address(28)?.is_unspecified() && address(38)? == ip;
    (address(28)? == ip || probes).then_some(sender)
}

fn packet(
    operation: u16,
    mac: Mac,
    sender: Ipv4Addr,
    target_mac: Mac,
    target: Ipv4Addr,
) -> Vec<u8> {
    let mut packet = Vec::with_capacity(SIZE);
    packet.extend_from_slice(&Mac::EVERYBODY.0);
    packet.extend_from_slice(&mac.0);
    packet.extend_from_slice(&ARP);
    packet.extend_from_slice(&ETHERNET_AND_IPV4);
    packet.extend_from_slice(&operation.to_be_bytes());
    packet.extend_from_slice(&mac.0);
    packet.extend_from_slice(&sender.octets());
    packet.extend_from_slice(&target_mac.0);
    packet.extend_from_slice(&target.octets());
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);
    const IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
    const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

    #[test]
    fn who_has_an_address_and_who_wants_it_claim_it() {
        for (operation, sender, target) in [
            (REPLY, IP, OTHER),
            (REQUEST, IP, IP),
            (REQUEST, Ipv4Addr::UNSPECIFIED, IP),
        ] {
            let packet = packet(operation, MAC, sender, Mac::NOBODY, target);
            assert_eq!(packet.len(), SIZE);
            assert_eq!(claims(&packet, IP), Some(MAC), "{sender} {target}");
        }
    }

    #[test]
    fn who_asks_for_an_address_or_speaks_of_another_does_not_claim_it() {
        for (operation, sender, target) in [
            (REQUEST, OTHER, IP),
            (REPLY, OTHER, IP),
            (REQUEST, Ipv4Addr::UNSPECIFIED, OTHER),
        ] {
            let packet = packet(operation, MAC, sender, Mac::NOBODY, target);
            assert_eq!(claims(&packet, IP), None, "{sender} {target}");
        }
    }

    #[test]
    fn what_is_no_whole_arp_packet_claims_nothing() {
        let mut packet = packet(REPLY, MAC, IP, MAC, IP);
        for length in 0..SIZE - 10 {
            assert_eq!(claims(&packet[..length], IP), None, "{length}");
        }
        packet[12] = 0x86;
        assert_eq!(claims(&packet, IP), None);
    }
}
