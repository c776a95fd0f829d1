//! The cluster that most tests use: six machines, three services, each of which requires the one before.

use super::{Layout, Machine};

/// `store` on one machine, `db` with one active side, `web` on three machines of which two must stay.
const SPEC: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
nodes:
  store1: { address: NET.11 }
  "db[1-2]": { address: "NET.[21-22]" }
  "web[1-3]": { address: "NET.[31-33]" }
services:
  store:
    nodes: [store1]
    manager: { process: { name: store } }
    checks:
      answers: { tcp: "{address}:8080", every: 300ms, timeout: 300ms, fresh: 10s }
  db:
    nodes: [db1, db2]
    active: one
    active_when: [writes]
    manager: { process: { name: db } }
    requires: [store]
    checks:
      writes: { http: "http://{address}:8080/", json: { /role: primary }, every: 300ms, timeout: 300ms, fresh: 10s, fail: 1 }
  web:
    nodes: "web[1-3]"
    active: all
    at_least: 2
    manager: { process: { name: web } }
    requires: [db]
    guard: { budget: 2, window: 10m, backoff: 50ms }
    checks:
      page: { http: "http://{address}:8080/", status: 200, paused: { /state: paused }, why: /reason, every: 300ms, timeout: 300ms, fresh: 10s, fail: 2 }
"#;

/// The instances in the order in which they start, if `db1` is the active side; those in one group in any order.
pub const ORDER: &[&[&str]] = &[
    &["store@store1"],
    &["db@db1"],
    &["db@db2"],
    &["web@web1", "web@web2", "web@web3"],
];

/// The cluster itself.
#[must_use]
pub fn layout() -> Layout<'static> {
    let machine = |node: &str, host, process: &str| Machine::new(node, host).process(process);
    Layout {
        spec: SPEC,
        machines: vec![
            machine("store1", 11, "store"),
            machine("db1", 21, "db"),
            machine("db2", 22, "db"),
            machine("web1", 31, "web"),
            machine("web2", 32, "web"),
            machine("web3", 33, "web"),
        ],
    }
}

/// A request for a startup of everything, with `db1` as the active side by the operator's word.
#[must_use]
pub fn startup() -> interlock_proto::v1::MakePlanRequest {
    let mut request = super::for_all("startup");
    request
        .assume_active
        .insert("db".to_owned(), "db1".to_owned());
    request
}
