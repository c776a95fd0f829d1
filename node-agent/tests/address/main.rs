//! Floating addresses between real hosts: network namespaces on a bridge. Needs root, `ip` and `nft`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab;
mod moving;
mod path;
#[path = "../../../tests/skip.rs"]
mod skip;
