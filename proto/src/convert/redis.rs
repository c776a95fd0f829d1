//! Redis servers of leased services: wire and core.

use interlock_model::postgres::Rejoin;
use interlock_model::redis::Redis;

use super::{Invalid, name};
use crate::v1;

/// A server, for the wire.
pub(super) fn redis_to_wire(redis: &Redis) -> v1::RedisServer {
    v1::RedisServer {
        server: redis.server.to_string(),
        port: u32::from(redis.port),
        rejoin: match redis.rejoin {
            // Nothing of it goes back: a person decides.
            Rejoin::Never | Rejoin::Rewind => "never",
            Rejoin::Clone => "clone",
        }
        .to_owned(),
    }
}

/// A server, from the wire.
///
/// # Errors
/// If a name is none, or a word is of a later version.
pub(super) fn redis_from_wire(wire: &v1::RedisServer) -> Result<Redis, Invalid> {
    let port = u16::try_from(wire.port).ok().filter(|port| *port != 0);
    Ok(Redis {
        server: name("part.redis.server", &wire.server)?,
        port: port.ok_or_else(|| Invalid::new("part.redis.port", "is no port"))?,
        rejoin: match wire.rejoin.as_str() {
            "never" => Rejoin::Never,
            "clone" => Rejoin::Clone,
            other => return Err(Invalid::word("part.redis.rejoin", other)),
        },
    })
}
