//! The path of the clients: who may reach the floating addresses of this node, kept by the kernel, closed by the kernel.
//!
//! # Why
//! A lease that runs out must end the writing on the node that held it, also when the agent there cannot do it any more: it
//! was killed, it is stopped, it waits for a disk. So the agent does not close the path when the lease ends: it *opens* it for
//! as long as the lease lasts, again with each renewal, and the kernel closes it when nothing more comes.
//!
//! # How
//! A table of nf_tables, `inet interlock`, with two sets for each family: the addresses that are *guarded*, and those that are
//! *open*, as elements with a timeout. Its chains drop what is for a guarded address of this node that is not open: new
//! connections and established ones, from elsewhere and from this node itself. The kernel compares the timeout with the time
//! at each packet, so it does not matter when it cleans up what has expired.
//!
//! [`prepare`](ClientPath::prepare) makes the table with `nft`; everything after that is one netlink transaction for each
//! call, which waits for nothing. An element that is added again keeps its old timeout (to older kernels); so it is deleted and
//! added in one transaction, in which no packet sees it missing. What is to be deleted must exist, so it is added first.
//!
//! # When the agent itself is stopped
//! Between the look at the clock, which says how long the path may be open, and the call that opens it, the process may be
//! stopped for any time (`SIGSTOP`, a debugger, no processor for it), and then open a path whose lease is long over. A
//! [`Ticket`] closes this gap: it is an element too, which the kernel lets expire after [`TICKET_LIFE`]. It is got *before*
//! the look at the clock, and the transaction that opens the path deletes it, thus fails when it has expired.
//!
//! # Invariants
//! - An address that is open is guarded: both are in one transaction. So an address opens only where the guard exists.
//! - A path is never open longer than it was asked to be: timeouts are rounded down, and less than a millisecond closes.
//!
//! # Limits
//! A client on this node that does not use the floating address (`127.0.0.1`, the node's own) is not seen here. The kernel
//! counts no time while the machine is suspended or paused. Whoever deletes the table (`nft flush ruleset`) opens everything;
//! each later call says so: [`Error::NoTable`]. And a program that may change packet filters may change these.

mod elements;
mod error;
mod table;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use interlock_model::address::FloatingAddress;
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use self::elements::{Change, Element, commit};
pub use self::error::Error;
use super::netlink::Socket;

/// How long a [`Ticket`] is good: far longer than the few microseconds between its making and its use, so that it is hardly
/// ever refused on a busy machine, and short against a lease, which loses as much.
pub const TICKET_LIFE: Duration = Duration::from_millis(100);

/// A reaching of floating addresses that the kernel ends by itself.
///
/// Clones share one socket, which is opened once; it belongs to the network namespace of the thread that opened it.
#[derive(Debug, Clone)]
pub struct ClientPath {
    kernel: Arc<Mutex<Kernel>>,
}

#[derive(Debug)]
struct Kernel {
    socket: Socket,
    /// The number of the socket, which makes its tickets different from those of all others.
    port: u32,
    /// How many tickets it has given.
    tickets: u32,
}

/// Evidence, for [`TICKET_LIFE`], that the process was not stopped since it was made.
#[derive(Debug)]
#[must_use = "a ticket that is not used has no effect"]
pub struct Ticket(Element);

impl ClientPath {
    /// Of the network namespace that this thread is in. Changes nothing yet.
    ///
    /// # Errors
    ///
    /// The kernel gives no socket.
    pub fn new() -> Result<Self, Error> {
        let socket = Socket::open(Some(NETFILTER)).map_err(Error::NoSocket)?;
        let kernel = Kernel {
            port: socket.port().map_err(Error::NoSocket)?,
            socket,
            tickets: 0,
        };
        Ok(Self {
            kernel: Arc::new(Mutex::new(kernel)),
        })
    }

    /// Guards addresses: makes the table, if it is not there, and its rules, and closes the addresses, also those that were
    /// open. Runs `nft`: not for a moment in which time counts.
    ///
    /// # Errors
    ///
    /// `nft` is missing or refuses, or the kernel does.
    pub fn prepare(&self, addresses: &[FloatingAddress]) -> Result<(), Error> {
        table::make()?;
        self.close(addresses)
    }

    /// As [`prepare`](Self::prepare), but what is open stays open until it was to close: for an agent that starts again on a
    /// node whose lease may still last. An address that was not guarded is closed.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Self::prepare).
    pub fn adopt(&self, addresses: &[FloatingAddress]) -> Result<(), Error> {
        table::make()?;
        self.change(addresses, |ip| {
            vec![Change::Add(Element::guarded(ip), None)]
        })
    }

    /// Opens addresses for a time that begins now, or until they are closed; what was said of them before is replaced. Less
    /// than a millisecond closes them. When this has gone well, it is in effect.
    ///
    /// If the time comes from a look at a clock, [`open_with`](Self::open_with) is what holds it.
    ///
    /// # Errors
    ///
    /// The table is not there, or the kernel refuses. Then nothing has changed: what was open closes when it was to.
    pub fn open(&self, addresses: &[FloatingAddress], time: Option<Duration>) -> Result<(), Error> {
        self.change(addresses, |ip| opened(ip, time))
    }

    /// A ticket, to be got before the look at the clock that says how long the path may be open.
    ///
    /// # Errors
    ///
    /// The table is not there, or the kernel refuses.
    pub fn ticket(&self) -> Result<Ticket, Error> {
        let mut kernel = self.kernel();
        kernel.tickets = kernel.tickets.wrapping_add(1);
        let ticket = Element::ticket(kernel.port, kernel.tickets);
        let made = Change::Add(ticket.clone(), Some(TICKET_LIFE));
        commit(&mut kernel.socket, &[made]).map_err(|source| failed(&[], source))?;
        Ok(Ticket(ticket))
    }

    /// As [`open`](Self::open), for a time that begins with the making of the ticket at the earliest. [`TICKET_LIFE`] is taken
    /// off it, which is what may pass until now: the addresses close before the time is over, whenever this process runs.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); or the ticket has expired, and the time is to be found out anew.
    pub fn open_with(
        &self,
        ticket: Ticket,
        addresses: &[FloatingAddress],
        time: Option<Duration>,
    ) -> Result<(), Error> {
        let time = time.map(|time| time.saturating_sub(TICKET_LIFE));
        let ips = ips(addresses);
        let mut changes = vec![Change::Delete(ticket.0.clone())];
        changes.extend(ips.iter().flat_map(|ip| opened(*ip, time)));
        let mut kernel = self.kernel();
        commit(&mut kernel.socket, &changes).map_err(|source| {
            // Both a table and a ticket that are not there are ENOENT.
            let probe = Change::clear(ticket.0);
            if is_missing(&source) && commit(&mut kernel.socket, &probe).is_ok() {
                Error::TooLate(ips)
            } else {
                failed(&ips, source)
            }
        })
    }

    /// Closes addresses at once, and guards them. They may be closed.
    ///
    /// # Errors
    ///
    /// The table is not there, or the kernel refuses.
    pub fn close(&self, addresses: &[FloatingAddress]) -> Result<(), Error> {
        self.change(addresses, closed)
    }

    /// Guards addresses no longer: everybody reaches them. For addresses that are not this node's any more. They may be
    /// unknown.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn forget(&self, addresses: &[FloatingAddress]) -> Result<(), Error> {
        let forgotten = |ip| {
            let [guarded, open] = [Element::guarded(ip), Element::open(ip)].map(Change::clear);
            [guarded, open].concat()
        };
        match self.change(addresses, forgotten) {
            Err(Error::NoTable(_)) => Ok(()),
            outcome => outcome,
        }
    }

    fn change(
        &self,
        addresses: &[FloatingAddress],
        change: impl Fn(IpAddr) -> Vec<Change>,
    ) -> Result<(), Error> {
        let ips = ips(addresses);
        let changes: Vec<_> = ips.iter().flat_map(|ip| change(*ip)).collect();
        commit(&mut self.kernel().socket, &changes).map_err(|source| failed(&ips, source))
    }

    fn kernel(&self) -> MutexGuard<'_, Kernel> {
        // It is sound after a panic: answers to an exchange that was not read to its end are left out by the next.
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each address once: the same one may be on two interfaces.
fn ips(addresses: &[FloatingAddress]) -> Vec<IpAddr> {
    let ips: BTreeSet<_> = addresses.iter().map(|address| address.ip).collect();
    ips.into_iter().collect()
}

fn closed(ip: IpAddr) -> Vec<Change> {
    let [add, delete] = Change::clear(Element::open(ip));
    vec![Change::Add(Element::guarded(ip), None), add, delete]
}

fn opened(ip: IpAddr, time: Option<Duration>) -> Vec<Change> {
    let mut changes = closed(ip);
    if time.is_none_or(|time| time >= Duration::from_millis(1)) {
        changes.push(Change::Add(Element::open(ip), time));
    }
    changes
}

fn failed(ips: &[IpAddr], source: io::Error) -> Error {
    if is_missing(&source) {
        return Error::NoTable(ips.to_vec());
    }
    Error::Kernel {
        addresses: ips.to_vec(),
        source,
    }
}

fn is_missing(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NOENT)
}
