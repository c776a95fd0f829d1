//! Connecting to a member of the cluster.
//!
//! A [`Target`] is an address and the identity that is [`Expected`] there. Addresses are addresses of VMs, typed by
//! people and changed by them; that the right member answers is proven by its certificate alone.
//!
//! * **A connection is made when the server has spoken.** In TLS 1.3 the client is done before the server has looked
//!   at the client's certificate (RFC 8446, 4.4.4 and figure 1), so a refusal would turn up in the middle of the first
//!   request, where it reads as a broken pipe. The connector therefore waits for the server's first bytes, which are
//!   the HTTP/2 settings that it sends of its own accord (RFC 9113, 3.4), or the alert that says what is wrong. That
//!   costs one half of a round trip per connection, and gives errors that name the remedy.
//! * **Reconnects use new credentials.** A channel reconnects by itself when its connection is lost, and takes the
//!   newest [`Credentials`] each time.
//! * **Errors are values.** [`ConnectError`] is found inside what tonic returns, also in the status of a request whose
//!   reconnect failed, with [`ConnectError::inside`].

mod address;
mod connector;
mod error;
mod expected;
mod options;
mod target;

pub use address::{Address, AddressError};
pub use error::ConnectError;
pub use expected::Expected;
pub use options::Options;
pub use target::Target;

use std::sync::Arc;

use tonic::transport::{Channel, Endpoint};

use crate::credentials::Credentials;
use connector::Connector;

/// Connects to `target` and returns when it has proven who it is and has accepted `credentials`.
///
/// # Errors
/// [`ConnectError`] says what stands in the way and what to do.
pub async fn connect(
    target: &Target,
    credentials: &Credentials,
    options: &Options,
) -> Result<Channel, ConnectError> {
    let connector = Connector::new(target.clone(), credentials.clone(), *options);
    match endpoint(target, options)
        .connect_with_connector(connector)
        .await
    {
        Ok(channel) => Ok(channel),
        Err(error) => Err(match ConnectError::inside(&error) {
            Some(cause) => cause.clone(),
            None => ConnectError::Transport {
                address: target.address.clone(),
                source: Arc::new(error),
            },
        }),
    }
}

/// A channel that connects at its first request, for a target that need not be there yet. A failure is then in the
/// request's status, see [`ConnectError::inside`].
#[must_use]
pub fn connect_lazy(target: &Target, credentials: &Credentials, options: &Options) -> Channel {
    let connector = Connector::new(target.clone(), credentials.clone(), *options);
    endpoint(target, options).connect_with_connector_lazy(connector)
}

fn endpoint(target: &Target, options: &Options) -> Endpoint {
    Endpoint::from(target.address.uri().clone())
        .origin(target.address.origin().clone())
        .http2_keep_alive_interval(options.keepalive_after)
        .keep_alive_timeout(options.keepalive_time)
        .keep_alive_while_idle(true)
}
