//! PostgreSQL servers of leased services: wire and core.

use interlock_model::postgres::{Peer, Postgres, Rejoin, Synchronous};

use super::{Invalid, name};
use crate::v1;

/// A server, for the wire.
pub(super) fn postgres_to_wire(postgres: &Postgres) -> v1::PostgresServer {
    v1::PostgresServer {
        cluster: postgres.cluster.to_string(),
        port: u32::from(postgres.port),
        user: postgres.user.clone(),
        synchronous: match postgres.synchronous {
            Synchronous::Off => "off",
            Synchronous::On => "on",
            Synchronous::Strict => "strict",
        }
        .to_owned(),
        rejoin: match postgres.rejoin {
            Rejoin::Never => "never",
            Rejoin::Rewind => "rewind",
            Rejoin::Clone => "clone",
        }
        .to_owned(),
    }
}

/// A server, from the wire.
///
/// # Errors
/// If a name is none, or a word is of a later version.
pub(super) fn postgres_from_wire(wire: &v1::PostgresServer) -> Result<Postgres, Invalid> {
    let port = u16::try_from(wire.port).ok().filter(|port| *port != 0);
    Ok(Postgres {
        cluster: name("part.postgres.cluster", &wire.cluster)?,
        port: port.ok_or_else(|| Invalid::new("part.postgres.port", "is no port"))?,
        user: wire.user.clone(),
        synchronous: match wire.synchronous.as_str() {
            "off" => Synchronous::Off,
            "on" => Synchronous::On,
            "strict" => Synchronous::Strict,
            other => return Err(Invalid::word("part.postgres.synchronous", other)),
        },
        rejoin: match wire.rejoin.as_str() {
            "never" => Rejoin::Never,
            "rewind" => Rejoin::Rewind,
            "clone" => Rejoin::Clone,
            other => return Err(Invalid::word("part.postgres.rejoin", other)),
        },
    })
}

/// Where another instance is, for the wire.
#[must_use]
pub fn peer_to_wire(peer: &Peer) -> v1::LeasePeer {
    v1::LeasePeer {
        node: peer.node.to_string(),
        address: peer.address.clone(),
    }
}

/// Where another instance is, from the wire.
///
/// # Errors
/// If its node has no name.
pub fn peer_from_wire(wire: &v1::LeasePeer) -> Result<Peer, Invalid> {
    Ok(Peer {
        node: name("lease.peers.node", &wire.node)?,
        address: wire.address.clone(),
    })
}
