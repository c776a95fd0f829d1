//! MariaDB servers of leased services: wire and core.

use interlock_model::mariadb::Mariadb;

use super::{Invalid, name};
use crate::v1;

/// A server, for the wire.
pub(super) fn mariadb_to_wire(mariadb: &Mariadb) -> v1::MariadbServer {
    v1::MariadbServer {
        server: mariadb.server.to_string(),
        port: u32::from(mariadb.port),
        user: mariadb.user.clone(),
    }
}

/// A server, from the wire.
///
/// # Errors
/// If a name is none, or the port.
pub(super) fn mariadb_from_wire(wire: &v1::MariadbServer) -> Result<Mariadb, Invalid> {
    let port = u16::try_from(wire.port).ok().filter(|port| *port != 0);
    Ok(Mariadb {
        server: name("part.mariadb.server", &wire.server)?,
        port: port.ok_or_else(|| Invalid::new("part.mariadb.port", "is no port"))?,
        user: wire.user.clone(),
    })
}
