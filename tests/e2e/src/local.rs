//! Local clusters: the real programs as processes on this machine's loopback network.
//!
//! A [`Cluster`] is a coordinator and agents with real certificates, on addresses of a network of 127.0.0.0/8 that no
//! other cluster has. It needs no root. What runs on its nodes are [stand-ins](stand_in): processes that do nothing but
//! write down when they are started and stopped ([`Story`]), and that wait where a test holds them ([`Cluster::hold`]).
//! So a test decides what a step is doing when something is killed, and sees afterwards what really happened, and how
//! often, without asking the programs under test.
//!
//! ```text
//!  test ── stdin, stdout ──► keeper ──► coordinator, agents ──► shims ──► stand-ins ──► story
//!    └──── gRPC, mutual TLS ([Operator]), interlockctl ──►┘                   └── holds ◄── test
//! ```
//!
//! The [keeper] is the parent of everything. It adopts what is orphaned, and when the test ends, however it
//! ends, it kills everything below itself: an agent's shims outlive their agent by design.

pub mod account;
mod authority;
mod cluster;
mod containers;
mod disk;
#[cfg(feature = "etcd")]
pub mod etcd;
mod haproxy;
pub mod keeper;
mod layout;
mod network;
mod operator;
pub mod pair;
mod postgres;
mod redis;
mod shipped;
pub mod shop;
pub mod stand_in;
mod story;
pub mod vm;
pub mod web;

pub use authority::{Authority, Life};
pub use cluster::Cluster;
pub use containers::Containers;
pub use disk::Disk;
pub use haproxy::Haproxy;
pub use layout::{FENCE, Layout, Machine};
pub use operator::{Operator, for_all, for_services};
pub use postgres::Postgres;
pub use redis::Redis;
pub use shipped::shipped;
pub use story::{Line, Story};
