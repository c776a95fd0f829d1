//! A program's own certificate, key and authority, reloaded while it runs.
//!
//! Three files make credentials. [`open`] checks them and returns a pair:
//!
//! ```text
//!   files ──► Store ──(watch)──► Credentials, Credentials, ...   one for every server and channel
//!             reads, checks,     always the newest that was good
//!             publishes
//! ```
//!
//! * **Checked as a whole, published as a whole.** Key, certificate and authority change together or not at all.
//!   Files that do not fit, for instance between two renames of a renewal, leave what was there in force.
//! * **No restart.** Each new connection uses the newest credentials. Connections that stand keep those with which
//!   they were made: the one way of TLS 1.3 to ask for a certificate later (RFC 8446, 4.6.2) is forbidden in HTTP/2
//!   (RFC 9113, 9.2.3). A session that must end with its peer's certificate looks
//!   at [`PeerIdentity::not_after`](crate::server::PeerIdentity::not_after).
//! * **The member stays the same.** A renewal brings new dates, another key, even another authority, but never
//!   another name: the rest of the program has said its name to others.
//! * **Keys are for their owner.** A key file that others may read is refused, with the command that repairs it.

mod clock;
mod error;
mod expiry;
mod files;
mod material;
mod receiver;
mod store;

pub use clock::{Clock, system_clock};
pub use error::LoadError;
pub use files::Files;
pub use receiver::Credentials;
pub use store::{Reloaded, Store};

use std::sync::Arc;

use tokio::sync::watch;

use crate::identity::Kind;

/// Loads the credentials of a program of the given kind.
///
/// # Errors
/// [`LoadError`] says which file is wrong, how, and what to do.
pub fn open(files: Files, kind: Kind, clock: Clock) -> Result<(Store, Credentials), LoadError> {
    // The stamp is taken first: a change while the files are read is then seen as one later.
    let stamp = files.stamp();
    let material = Arc::new(material::Material::load(&files, kind, &clock)?);
    let (publish, current) = watch::channel(material);
    Ok((
        Store::new(files, kind, clock, stamp, publish),
        Credentials::new(current),
    ))
}
