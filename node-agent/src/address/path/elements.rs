//! Changes of the table's sets, as one transaction of the kernel's nf_tables.
//!
//! A transaction is a batch of messages (`linux/netfilter/nfnetlink.h`) between a begin and an end. The kernel applies all of
//! it or nothing, and answers after it has taken effect.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use crate::address::netlink::{ACK, CREATE, Messages, REQUEST, Socket};
use crate::address::route::octets;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// `NFNL_SUBSYS_NFTABLES`.
const NF_TABLES: u16 = 10;
const NEW_ELEMENT: u16 = NF_TABLES << 8 | 12;
const DELETE_ELEMENT: u16 = NF_TABLES << 8 | 14;

/// `NFPROTO_INET`: the family of the table.
const INET: u8 = 1;

/// Attributes (`linux/netfilter/nf_tables.h`): of a list of elements, of an element, of a value.
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_TIMEOUT: u16 = 4;
const VALUE: u16 = 1;

/// Name of the table.
const TABLE: &str = "interlock";

/// An element of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    set: &'static str,
    key: Vec<u8>,
}

impl Element {
    /// An address of which everything is dropped, unless it is open.
    pub(super) fn guarded(ip: IpAddr) -> Self {
        Self {
            set: if ip.is_ipv4() { "guarded4" } else { "guarded6" },
            key: octets(ip),
        }
    }

    /// An address that is open.
    pub(super) fn open(ip: IpAddr) -> Self {
        Self {
            set: if ip.is_ipv4() { "open4" } else { "open6" },
            key: octets(ip),
        }
    }

    /// A ticket: of which socket, and its number there.
    pub(super) fn ticket(port: u32, number: u32) -> Self {
        Self {
            set: "tickets",
            key: [port.to_ne_bytes(), number.to_ne_bytes()].concat(),
        }
    }
}

/// One change of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Adds an element, which may be there: then nothing changes, its timeout neither. `None` never expires.
    Add(Element, Option<Duration>),
    /// Deletes an element; the transaction fails with `ENOENT` if it is not there, or has expired.
    Delete(Element),
}

impl Change {
    /// Takes an element out, whether it is there or not.
    pub(super) fn clear(element: Element) -> [Self; 2] {
        [Self::Add(element.clone(), None), Self::Delete(element)]
    }
}

/// Makes all changes, or none. When this has gone well they are in effect.
pub(super) fn commit(socket: &mut Socket, changes: &[Change]) -> io::Result<()> {
    let Some((last, before)) = changes.split_last() else {
        return Ok(());
    };
    socket.exchange(
        |messages| {
            limit(messages, BATCH_BEGIN);
            for change in before {
                push(messages, change, 0);
            }
            // Errors come for each message, a success only where it is asked for.
            push(messages, last, ACK);
            limit(messages, BATCH_END);
        },
        |_, _| {},
    )
}

/// The begin or the end of a batch: `struct nfgenmsg` with the subsystem, in network order.
fn limit(messages: &mut Messages, kind: u16) {
    let [high, low] = NF_TABLES.to_be_bytes();
    messages.push(kind, REQUEST, |body| {
        body.fixed(&[0, 0, high, low]);
    });
}

fn push(messages: &mut Messages, change: &Change, flags: u16) {
    let (kind, flags, element, timeout) = match change {
        Change::Add(element, timeout) => (NEW_ELEMENT, flags | CREATE, element, *timeout),
        Change::Delete(element) => (DELETE_ELEMENT, flags, element, None),
    };
    messages.push(kind, flags | REQUEST, |body| {
        body.fixed(&[INET, 0, 0, 0])
            .text(LIST_TABLE, TABLE)
            .text(LIST_SET, element.set);
        body.nested(LIST_ELEMENTS, |list| {
            list.nested(LIST_ELEMENT, |item| {
                item.nested(ELEMENT_KEY, |key| {
                    key.attribute(VALUE, &element.key);
                });
                if let Some(timeout) = timeout {
                    item.attribute(ELEMENT_TIMEOUT, &milliseconds(timeout).to_be_bytes());
                }
            });
        });
    });
}

/// The whole milliseconds of a timeout, at least one: zero would be no timeout at all to the kernel.
fn milliseconds(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}
