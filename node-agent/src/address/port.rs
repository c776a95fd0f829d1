//! Sending to a link, and hearing it, below IP: packet(7).
//!
//! A socket is bound to an interface with a `sockaddr_ll`, which neither the standard library nor `rustix` can make without
//! unsafe code. `getifaddrs(3)` gives one for each interface, and `nix` passes it on to `bind(2)`. The kernel takes the
//! protocol from the socket where that address has none (`packet_do_bind`), as those of `getifaddrs` have not.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, eth, recv, send, socket_with,
};

/// Longer than any ARP packet with its header.
const LONGEST: usize = 128;

/// Where ARP packets of one interface come and go.
#[derive(Debug)]
pub(super) struct Port(OwnedFd);

impl Port {
    /// On this interface.
    pub(super) fn open(interface: &str) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = (AddressFamily::PACKET, SocketType::RAW);
        let socket = socket_with(kind.0, kind.1, flags, Some(eth::ARP))?;
        let bound = nix::ifaddrs::getifaddrs()?
            .filter(|entry| entry.interface_name == interface)
            .filter_map(|entry| entry.address)
            .find_map(|address| {
                let link = address.as_link_addr()?;
                Some(nix::sys::socket::bind(socket.as_raw_fd(), link))
            });
        bound.unwrap_or(Err(nix::errno::Errno::ENODEV))?;
        let port = Self(socket);
        // Until it was bound it heard all interfaces.
        while port.next()?.is_some() {}
        Ok(port)
    }

    /// Sends a packet with its Ethernet header.
    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        send(&self.0, packet, SendFlags::empty())?;
        Ok(())
    }

    /// The next packet that others sent, if one comes before the end.
    pub(super) fn receive(&self, end: Instant) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(packet) = self.next()? {
                return Ok(Some(packet));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            match poll(
                &mut [PollFd::new(&self.0, PollFlags::IN)],
                Some(&timespec(left)),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn next(&self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; LONGEST];
        loop {
            match recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((length, _)) => {
                    buffer.truncate(length);
                    return Ok(Some(buffer));
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
