//! The shipped spec, as it is on loopback; with a drain that a test can wait for.

use crate::local::shipped;
use anyhow::Result;

const SHIPPED: &str = include_str!("../../../../../deploy/clusters/mstr.yaml");

/// Texts of the shipped spec, and what stands for them.
const INSTEAD: [(&str, &str); 6] = [
    ("10.8.0.41:80/", "NET.41:8080/"),
    ("10.8.0.", "NET."),
    ("{address}:34952", "{address}:8080"),
    ("{address}:80\"", "{address}:8080\""),
    ("/etc/nginx/conf.d/collaboration.conf }", "DIR/lb.members }"),
    ("drain: 10m }", "drain: 2s, every: 300ms }"),
];

/// Where a service says its own time limits: with a start that is soon too late.
const HASTY: (&str, &str) = (
    "    at_least: 2 ",
    "    timeouts: { start: 15s }\n    at_least: 2 ",
);

/// It, for [`Layout`](crate::local::Layout); `hasty` if instances get little time to be healthy.
pub(super) fn adapted(hasty: bool) -> Result<String> {
    let more = hasty.then_some(HASTY);
    let instead: Vec<_> = INSTEAD.into_iter().chain(more).collect();
    shipped(SHIPPED, &instead)
}
