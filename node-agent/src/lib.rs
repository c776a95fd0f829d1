//! The agent of a node: reports the health of one VM, and does on it what its own file permits.
//!
//! | module | is |
//! |---|---|
//! | [`run`] | the program: everything put together, and the executor that works on this machine |
//! | [`session`] | the sessions with coordinators, and the seam behind which the agent acts |
//! | [`ledger`] | the durable memory of attempts |
//! | [`config`] | the agent's own file, with the allow-list |
//! | [`shim`], [`supervise`], [`exec`] | commands that outlive the agent: processes, services by commands, checks |
//! | [`postgres`], [`redis`], [`mariadb`] | a database server of this machine: observed, promoted, brought back |
//! | [`ocf`] | OCF resource agents: what they say of themselves, and how they are run |
//! | [`systemd`], [`power`], [`probe`] | units of this machine, power of others, what can be seen from here |
//! | [`address`] | addresses that move with a role, and who reaches them |
//! | `roles` | who keeps the leases of this node's instances, and acts for them |
//! | `peers` | promises among the agents of one service, when no coordinator is reached |
//! | `watchdog` | the device that resets this machine when nobody else stops its primaries |
//! | `health` | what load balancers are told of roles |
//! | [`logs`] | reading logs for people who may not come here themselves |
//! | [`facts`], [`notify`] | what the machine is; telling the service manager |
//!
//! What an agent decides is in `interlock_engine::agent`, which is pure; this crate carries it out.

pub mod address;
mod balance;
pub mod config;
pub mod exec;
pub mod facts;
mod files;
mod group;
mod health;
pub mod ledger;
pub mod logs;
pub mod mariadb;
mod node_service;
pub mod notify;
pub mod ocf;
mod peers;
pub mod postgres;
pub mod power;
pub mod probe;
mod reach;
pub mod redis;
mod replace;
mod roles;
pub mod run;
pub mod session;
pub mod shim;
#[cfg(test)]
#[path = "../../tests/skip.rs"]
mod skip;
pub mod supervise;
pub mod systemd;
mod tool;
mod watchdog;
mod xml;
