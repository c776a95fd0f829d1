//! The wire contract of Interlock, `interlock.v1`, and its conversions to the words of the core.
//!
//! The protos under `proto/interlock/v1` are the contract: one service per audience, a comment on every RPC that says
//! when it works, who may call it, its deadline and the bound on its size. [`convert`] turns messages into the core's
//! types once, at the edge, and refuses what cannot be one; what an older or newer peer leaves unspecified is read as
//! *unknown*, never as good.

pub mod convert;

/// The generated messages, clients and servers.
#[expect(
    missing_docs,
    clippy::all,
    reason = "generated; the protos are documented"
)]
#[allow(
    unreachable_pub,
    clippy::needless_pass_by_value,
    reason = "generated; depends on the generator's version"
)]
pub mod v1 {
    tonic::include_proto!("interlock.v1");
}

/// The compiled protos with their comments, for reflection and for the contract tests.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/interlock.v1.bin"));

/// The version of the agent protocol that this build speaks.
pub const PROTOCOL: u32 = 1;
