//! Talking with the kernel about addresses and packet filters: netlink(7), by plain system calls.
//!
//! The kernel carries a request out inside the `send` and queues all answers to it before that returns (a listing goes on with
//! each `recv`). So nothing here waits: what is not there after the `send` does not come.
//!
//! A [`Socket`] is opened early and kept: when an address has to go at once, no descriptor must be got for it first.

mod message;

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, connect, getsockname,
    recv, send, socket_with,
};

pub(super) use message::{Body, Messages, attributes, half, word};

/// `NLM_F_REQUEST`: this is a request.
pub(super) const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: say so when it went well, too.
pub(super) const ACK: u16 = 0x4;
/// `NLM_F_DUMP`: list everything.
pub(super) const DUMP: u16 = 0x300;
/// `NLM_F_EXCL`: it must not be there yet.
pub(super) const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_CREATE`: make it if it is not there.
pub(super) const CREATE: u16 = 0x400;

/// `NLM_F_DUMP_INTR`: what was listed changed meanwhile.
const INTERRUPTED: u16 = 0x10;

/// `NLMSG_ERROR`: the outcome of a request, zero if it went well.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a listing.
const DONE: u16 = 3;

/// More than the kernel puts into one datagram (`NLMSG_GOODSIZE`, at most 32 KiB for a listing).
const LONGEST: usize = 64 * 1024;

/// A conversation with one subsystem of the kernel.
#[derive(Debug)]
pub(super) struct Socket {
    descriptor: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// With a subsystem; `None` is `NETLINK_ROUTE`.
    pub(super) fn open(subsystem: Option<Protocol>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let descriptor = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, subsystem)?;
        // To the kernel, and to nobody else: what another process sends here is refused from now on.
        connect(&descriptor, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self {
            descriptor,
            sequence: 1,
            buffer: vec![0; LONGEST],
        })
    }

    /// The number that no other socket of this network namespace has, for as long as this one is open.
    pub(super) fn port(&self) -> io::Result<u32> {
        Ok(SocketAddrNetlink::try_from(getsockname(&self.descriptor)?)?.pid())
    }

    /// Sends requests and gives `each` what answers them (type, body). At least one of them must ask for [`ACK`] or be a
    /// [`DUMP`]: an exchange without a word of success has failed. The first error of any of them is the outcome.
    pub(super) fn exchange(
        &mut self,
        write: impl FnOnce(&mut Messages),
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        let first = self.sequence;
        let mut messages = Messages::starting_at(first);
        write(&mut messages);
        self.sequence = messages.next();
        let count = self.sequence.wrapping_sub(first);
        send(&self.descriptor, messages.bytes(), SendFlags::empty())?;

        let mut outcome = None;
        loop {
            let (length, _) = match recv(
                &self.descriptor,
                self.buffer.as_mut_slice(),
                RecvFlags::empty(),
            ) {
                Ok(received) => received,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for message in message::messages(&self.buffer[..length]) {
                // An answer to an earlier exchange that ended before it was read.
                if message.sequence.wrapping_sub(first) >= count {
                    continue;
                }
                if message.flags & INTERRUPTED != 0 {
                    outcome = Some(Err(io::Error::from(Errno::AGAIN)));
                }
                match message.kind {
                    ERROR | DONE => {
                        let told = told(message.body);
                        if !matches!(outcome, Some(Err(_))) {
                            outcome = Some(told);
                        }
                    }
                    kind => each(kind, message.body),
                }
            }
        }
        outcome.unwrap_or_else(|| {
            Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the kernel did not answer",
            ))
        })
    }
}

/// The outcome that a message of type [`ERROR`] or [`DONE`] begins with: a negative error number, or zero.
fn told(body: &[u8]) -> io::Result<()> {
    match word(body, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number.wrapping_neg())),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel answered with less than an error number",
        )),
    }
}
