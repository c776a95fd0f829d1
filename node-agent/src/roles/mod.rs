//! The roles of this node: who keeps the leases of its instances, and acts for them.
//!
//! # Purpose
//! The machine of a holder ([`interlock_engine::lease::holder`]) decides when this node has the right to be primary. Here is
//! what carries that out: one thread that owns all machines and reads both clocks right before each call. What protects
//! the others from this node must wait neither for the agent's runtime, which is one thread, nor for a disk (safety rule
//! E14), so a forced stop is done here, by system calls alone.
//!
//! ```text
//!   links ── words ──────────────►┌────────┐── renewals, releases, standings ──► mail of each link
//!   Body ─── claims of attempts ─►│ Keeper │── facts ──► Writer (disk) ── committed ─┐
//!   Hands ── done, grips ────────►│ thread │◄──────────────────────────────────────┘
//!   Watch ── what is seen ───────►└────────┘── work ──► Hands (runtime: the managers of parts)
//!                                   │ │ └─ views ──► board, attempts that wait for a role
//!                                   │ └─ /run: how long the right lasts, for the next agent of this boot
//!                                   └─ the kernel: SIGKILL, addresses, the path of the clients, reboot(2)
//! ```
//!
//! # Terms
//! * **Seat**: what the thread knows of one leased service: its machine, its primary parts, and what is under way.
//! * **Work**: what the runtime does for a seat, one at a time: starting what only a primary has, and stopping it.
//! * **Grip**: what it takes to end a part at once, taken when it was started ([`crate::shim::Grip`]).
//! * **Turn**: counts the changes of a seat, so that what was seen before a change is not taken for what is so after it.
//!
//! # Invariants
//! * *Empty* is said only when no work is under way, every grip is proven empty, no address is there, and managers without
//!   a grip have said that it is down. What cannot be proven is not said.
//! * Effects are carried out in their order, and facts become durable in theirs.
//! * While an attempt has the instance in hand nobody claims its role here: such a command is dropped, it gives no right.
//!
//! | file | holds |
//! |---|---|
//! | `keeper` | the thread |
//! | `seat`, `effects`, `standing`, `view` | one service: events in, effects out, how it looks |
//! | `sign` | how it looks to load balancers, at the moment in which they ask |
//! | `force` | the forced stop |
//! | `leaving` | what makes a stop in order short |
//! | `promises` | what members promise each other while no coordinator is reached |
//! | `watch` | the watchdog, as one primary has it armed |
//! | `refusal` | a promotion that failed |
//! | `ears` | whether somebody else is on the networks of its addresses |
//! | `door` | the addresses of the primary, and the path of its clients |
//! | `facts`, `tenures` | what is durable, and what outlives the agent only |
//! | `handle`, `input` | how the rest of the agent talks to the thread |
//! | `clock`, `memory` | both clocks; memory that is not paged out |

mod clock;
mod door;
mod ears;
mod effects;
mod facts;
mod force;
mod handle;
mod input;
mod keeper;
mod leaving;
mod memory;
mod promises;
mod refusal;
mod seat;
mod sign;
mod standing;
mod tenures;
mod view;
mod watch;

pub(crate) use clock::read as read_clocks;
pub(crate) use door::Door;
pub(crate) use ears::Received;
pub(crate) use handle::Error;
pub(crate) use handle::{Options, Roles};
pub(crate) use input::{
    Condition, DataSight, Following, Leased, Newcomer, Order, Outcome, Readiness, Rest, Sight,
    Task, Waited, Work,
};
pub(crate) use sign::{Looked, Sign, Signs};
pub(crate) use view::View;
