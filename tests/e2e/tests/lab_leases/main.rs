//! A leased service on real hosts: a real Redis as the part of the primary, an address that goes with it, the kernel's path
//! for its clients, and writers on three machines that note who took each write.
//!
//! Whatever is done to the machines, two sides are never active at once (invariant I1). The writers come by the address, as
//! the spec says that all do, from a client's machine and from both members: those see the member's own server by its
//! loopback, where no cut of the network keeps them out.

mod alone;
mod balancer;
mod fencing;
mod moves;
mod site;
