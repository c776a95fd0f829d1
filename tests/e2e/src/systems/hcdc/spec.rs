//! The shipped spec, as it is on loopback. The share is mounted from nowhere that a kernel would name.

use crate::local::shipped;
use anyhow::Result;

const SHIPPED: &str = include_str!("../../../../../deploy/clusters/hcdc.yaml");

/// Texts of the shipped spec, and what stands for them.
const INSTEAD: [(&str, &str); 11] = [
    ("10.7.0.13:2049", "NET.13:8080"),
    (
        "source: \"10.7.0.13:/file_store/shared\", fstype: nfs4, ",
        "",
    ),
    ("10.7.0.5:123", "{address}:8123"),
    ("10.7.0.", "NET."),
    ("{address}:443", "{address}:8080"),
    ("/file_store/shared", "DIR/file_store"),
    ("/hipchat/config/", "DIR/machine/"),
    ("/run/haproxy/admin.sock", "DIR/lb.sock"),
    // Slower than the checks: what somebody has changed is seen before it is put back.
    ("drain: 10m }", "drain: 60s, every: 2s }"),
    (", every: 30s, timeout: 1s }", " }"),
    (", every: 1m", ""),
];

/// It, for [`Layout`](crate::local::Layout).
pub(super) fn adapted() -> Result<String> {
    shipped(SHIPPED, &INSTEAD).map(|spec| spec.replace(", timeout: 30s", ""))
}
