//! Reading cluster specs: reports, limits, properties, schema and examples.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the core itself reads no files; what it is tried on is in some"
)]

mod clusters;
mod limits;
mod ocf;
mod problems;
mod properties;
mod ranges;
mod schema;
mod support;
mod validator;
