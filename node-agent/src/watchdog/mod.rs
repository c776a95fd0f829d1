//! The watchdog device of this machine: what resets it when its agent cannot stop a primary any more (safety rules E4, E7).
//!
//! # Purpose
//! While a primary runs whose lease ends by itself the device is open, and petted for as long as the acknowledged renewals of all
//! such primaries are younger than A. When nothing pets it, since the agent hangs or the machine does, it resets the
//! machine W later, before anybody else is primary. That is recorded with the lease: then time alone proves that the
//! primary is over.
//!
//! # Terms
//! * **Armed**: open. To open it starts its clock, a byte pets it, and `V` before it is closed ends it (*magic close*); closed
//!   without that, as by the end of the process, it goes on and resets the machine.
//! * **Its time**: what it says itself, read back from the kernel. What was wanted counts for nothing: drivers round.
//!
//! # Invariants
//! * Petted, opened and closed by the thread that keeps the roles, with system calls alone, and only right after a look at
//!   both clocks.
//! * A device whose time does not suit the terms of a lease is not armed for it, and the arithmetic says why.
//! * One that cannot be disarmed (*nowayout*) is not used: a machine that gives its role back would be reset.
//!
//! Its time is set, if the agent's own file says so, by `wdctl` of util-linux before any role is kept: the device takes it by
//! ioctl(2) alone, which this program does not do. Contract: Documentation/watchdog/watchdog-api.rst of the kernel.
//!
//! | file | holds |
//! |---|---|
//! | `device` | what a device says of itself, and its time |
//! | `dog` | the open device: armed, petted, disarmed |
//! | `view` | how it looks to people |

mod device;
mod dog;
mod view;

pub(crate) use device::Device;
pub(crate) use dog::{Dog, Report};
pub(crate) use view::View;
