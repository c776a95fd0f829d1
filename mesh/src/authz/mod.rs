//! Who may call what.
//!
//! One [`Table`] maps each method's path to the [`Access`] that it needs; what is not in the table is denied to
//! everybody. [`Authorized`] puts the table before all services of a server, so that no handler can be reached past
//! it, and a test holds the table equal to the methods that exist.
//!
//! The check is one look-up and two comparisons; only a denial allocates, for its message.

mod access;
mod authorized;
mod interlock_v1;
mod table;

pub use access::Access;
pub use authorized::Authorized;
pub use table::{Denied, DuplicateMethod, Table};
