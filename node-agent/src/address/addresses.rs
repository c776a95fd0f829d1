//! Addresses on this node's interfaces.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use interlock_model::address::FloatingAddress;

use super::netlink::Socket;
use super::port::Port;
use super::route::{self, Link};
use super::{Doing, Error, Mac, arp, neighbour};

/// How often [`Addresses::announce`] says it: one or two of the packets may be lost.
const BURST: u32 = 3;

/// What the kernel tells of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Why nobody would reach an address by it: it does not exist, is down, or has no carrier. None if it can be used.
    pub unlinked: Option<&'static str>,
    /// How many packets it has received; none if the kernel does not tell.
    pub received: Option<u64>,
}

/// Puts floating addresses on this node's interfaces and takes them off.
///
/// Clones share one socket, which is opened once, in the network namespace of the thread that does it; all calls are to come
/// from threads that are in the same. No call waits for anything but the kernel, except [`conflict`](Self::conflict), which
/// waits for the link.
#[derive(Debug, Clone)]
pub struct Addresses {
    socket: Arc<Mutex<Socket>>,
}

impl Addresses {
    /// Of the network namespace that this thread is in.
    ///
    /// # Errors
    ///
    /// The kernel gives no socket.
    pub fn new() -> Result<Self, Error> {
        let socket = Socket::open(None).map_err(Error::NoSocket)?;
        Ok(Self {
            socket: Arc::new(Mutex::new(socket)),
        })
    }

    /// Switches the interface of an address on, if that is the role's as a whole; tells whether it has a carrier now. A port that has
    /// just been switched on takes a moment, or some seconds, to have one.
    ///
    /// # Errors
    ///
    /// The interface does not exist, or the kernel refuses.
    pub fn raise(&self, address: &FloatingAddress) -> Result<bool, Error> {
        let mut socket = self.socket();
        let refused = refused(Doing::Raise, address);
        let link = route::link(&mut socket, &address.interface).map_err(&refused)?;
        let link = link.ok_or_else(|| Error::NoInterface(address.clone()))?;
        if address.whole_interface && !link.up {
            route::switch(&mut socket, link, true).map_err(&refused)?;
            let link = route::link(&mut socket, &address.interface).map_err(&refused)?;
            return Ok(link.is_some_and(|link| link.up && link.carrier));
        }
        Ok(link.up && link.carrier)
    }

    /// Puts an address on its interface, usable at once. It may be there already. An interface that is the role's as a whole is
    /// switched on for that.
    ///
    /// # Errors
    ///
    /// The interface does not exist, is down, or has no carrier; or the kernel refuses.
    pub fn add(&self, address: &FloatingAddress) -> Result<(), Error> {
        if address.whole_interface {
            self.raise(address)?;
        }
        let mut socket = self.socket();
        let link = ready(&mut socket, address, Doing::Add)?;
        route::add(&mut socket, link, address).map_err(refused(Doing::Add, address))
    }

    /// Takes an address off its interface, whatever its prefix is there. It may be absent, and so may the interface. When
    /// this has gone well, the address was seen to be gone.
    ///
    /// With an IPv4 address go those of the same network that were added after it, unless `promote_secondaries` of its
    /// interface is set: a node's own addresses are to be there first. An interface that is the role's as a whole is switched off
    /// afterwards.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or something else keeps adding the address.
    pub fn remove(&self, address: &FloatingAddress) -> Result<(), Error> {
        let mut socket = self.socket();
        let removed = match route::link(&mut socket, &address.interface) {
            Ok(None) => Ok(()),
            Ok(Some(link)) => {
                let removed = route::remove(&mut socket, link, address.ip);
                // Both are tried, whatever has become of the other.
                match address.whole_interface && link.up {
                    true => removed.and(route::switch(&mut socket, link, false)),
                    false => removed,
                }
            }
            Err(error) => Err(error),
        };
        removed.map_err(refused(Doing::Remove, address))
    }

    /// Whether an address is on its interface, whatever its prefix is there. It is not on an interface that does not exist.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn is_present(&self, address: &FloatingAddress) -> Result<bool, Error> {
        present(&mut self.socket(), address, Doing::LookFor).map(|link| link.is_some())
    }

    /// Whether an address is on its interface, and that is switched on if it is the role's as a whole.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn is_serving(&self, address: &FloatingAddress) -> Result<bool, Error> {
        let link = present(&mut self.socket(), address, Doing::LookFor)?;
        Ok(link.is_some_and(|link| link.up || !address.whole_interface))
    }

    /// What else is on the interface of an address: those that somebody beyond its link could reach.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn others(&self, address: &FloatingAddress) -> Result<Vec<IpAddr>, Error> {
        let mut socket = self.socket();
        let refused = refused(Doing::LookFor, address);
        let Some(link) = route::link(&mut socket, &address.interface).map_err(&refused)? else {
            return Ok(Vec::new());
        };
        let mut all = route::reachable(&mut socket, link).map_err(refused)?;
        all.retain(|ip| *ip != address.ip);
        Ok(all)
    }

    /// What is seen of the interface of an address, whether that is there or not.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn interface(&self, address: &FloatingAddress) -> Result<Seen, Error> {
        let link = route::link(&mut self.socket(), &address.interface)
            .map_err(refused(Doing::LookFor, address))?;
        let unlinked = match link {
            None => Some("does not exist"),
            // Off as on every standby: whether it has a link nobody knows.
            Some(link) if !link.up && address.whole_interface => None,
            Some(link) if !link.up => Some("is down"),
            Some(link) if !link.carrier => Some("has no carrier"),
            Some(_) => None,
        };
        let received = link.and_then(|link| link.received);
        Ok(Seen { unlinked, received })
    }

    /// Who else on the link has this address, or is about to take it: asks for about 200 ms, by ARP.
    ///
    /// `None` for IPv6, and where neighbours do not look for each other by ARP (`lo`, a dummy): nothing can be asked there.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add); or the kernel does not let this process talk to the link.
    pub fn conflict(&self, address: &FloatingAddress) -> Result<Option<Mac>, Error> {
        let link = ready(&mut self.socket(), address, Doing::ProbeFor)?;
        match (address.ip, link.mac) {
            (IpAddr::V4(ip), Some(mac)) => Port::open(&address.interface)
                .and_then(|port| arp::conflict(&port, mac, ip))
                .map_err(refused(Doing::ProbeFor, address)),
            (IpAddr::V6(_), _) | (_, None) => Ok(None),
        }
    }

    /// Tells the link that an address is here now, so that neighbours and switches forget where it was: three times at once,
    /// by ARP in both forms or by unsolicited neighbour advertisements. Does nothing where neighbours do not look for each
    /// other.
    ///
    /// # Errors
    ///
    /// The address is not here; or the kernel refuses.
    pub fn announce(&self, address: &FloatingAddress) -> Result<(), Error> {
        self.tell(address, BURST)
    }

    /// As [`announce`](Self::announce), but once: for those who were not listening then. To be repeated for a while.
    ///
    /// # Errors
    ///
    /// As [`announce`](Self::announce).
    pub fn refresh(&self, address: &FloatingAddress) -> Result<(), Error> {
        self.tell(address, 1)
    }

    fn tell(&self, address: &FloatingAddress, times: u32) -> Result<(), Error> {
        let link = present(&mut self.socket(), address, Doing::Announce)?
            .ok_or_else(|| Error::NotHere(address.clone()))?;
        let Some(mac) = link.mac else {
            return Ok(());
        };
        let told = match address.ip {
            IpAddr::V4(ip) => {
                Port::open(&address.interface).and_then(|port| arp::announce(&port, mac, ip, times))
            }
            IpAddr::V6(ip) => neighbour::announce(link.index, mac, ip, times),
        };
        told.map_err(refused(Doing::Announce, address))
    }

    fn socket(&self) -> MutexGuard<'_, Socket> {
        // It is sound after a panic: answers to an exchange that was not read to its end are left out by the next.
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The interface of an address, if that can be used on it.
fn ready(socket: &mut Socket, address: &FloatingAddress, doing: Doing) -> Result<Link, Error> {
    match route::link(socket, &address.interface).map_err(refused(doing, address))? {
        None => Err(Error::NoInterface(address.clone())),
        Some(link) if !link.up => Err(Error::Down(address.clone())),
        Some(link) if !link.carrier => Err(Error::NoCarrier(address.clone())),
        Some(link) => Ok(link),
    }
}

/// The interface of an address, if that is on it.
fn present(
    socket: &mut Socket,
    address: &FloatingAddress,
    doing: Doing,
) -> Result<Option<Link>, Error> {
    let refused = refused(doing, address);
    let Some(link) = route::link(socket, &address.interface).map_err(&refused)? else {
        return Ok(None);
    };
    let prefixes = route::prefixes(socket, link, address.ip).map_err(refused)?;
    Ok((!prefixes.is_empty()).then_some(link))
}

fn refused(doing: Doing, address: &FloatingAddress) -> impl Fn(io::Error) -> Error {
    move |source| Error::Refused {
        doing,
        address: address.clone(),
        source,
    }
}
