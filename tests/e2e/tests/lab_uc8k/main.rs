//! A UC8000 pair, mode 1, on real hosts with two networks: the shipped spec with the lab's addresses, Debian's PostgreSQL, and a
//! stand-in for the IPPBX that really writes each call into it. A caller on the service network alone, and writers on both machines
//! that ask their own database by its loopback, note who takes what: two sides are never active at once (invariant I1). And mode 2, whose
//! databases are on two machines of their own.

mod links;
mod pair;
mod site;
mod split;
