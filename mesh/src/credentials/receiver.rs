//! The side of the pair that servers and channels hold.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::{ClientConfig, ServerConfig};
use tokio::sync::watch;

use super::material::Material;
use crate::channel::Expected;
use crate::identity::Identity;

/// The newest good credentials of this program. A handle: clones see the same reloads.
#[derive(Debug, Clone)]
pub struct Credentials {
    current: watch::Receiver<Arc<Material>>,
}

impl Credentials {
    pub(super) const fn new(current: watch::Receiver<Arc<Material>>) -> Self {
        Self { current }
    }

    /// Who this program is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.current.borrow().identity.clone()
    }

    /// When the certificate in use ends.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.current.borrow().not_after
    }

    /// Waits for the next reload. Ends with `false` when the [`Store`](super::Store) is gone and none will come.
    pub async fn changed(&mut self) -> bool {
        self.current.changed().await.is_ok()
    }

    /// What the next accepted connection needs. It is made once per reload; this is the clone of a pointer.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.current.borrow().server.clone()
    }

    /// What the next connection to `expected` needs.
    ///
    /// # Errors
    /// Only if the library cannot speak TLS 1.3 with its own cryptography.
    pub fn client_config(&self, expected: Expected) -> Result<ClientConfig, rustls::Error> {
        self.current.borrow().client(expected)
    }
}
