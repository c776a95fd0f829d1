//! The passwords that checks log in with: secrets of this agent, read anew for each look.
//!
//! Which secret may be sent where is decided before a check runs ([`Allow`](crate::config::Allow)). A secret is read by a
//! thread, because a disk may hang; there is one at a time, so that a hung disk does not use up the threads.

use std::sync::Arc;

use interlock_model::names::LocalName;
use tokio::sync::Semaphore;

use crate::config::Secrets;
use crate::power::Secret;

/// The way to the secrets. Clones share it.
#[derive(Debug, Clone)]
pub struct Passwords {
    secrets: Secrets,
    slot: Arc<Semaphore>,
}

impl Passwords {
    /// Of these secrets.
    #[must_use]
    pub fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            slot: Arc::new(Semaphore::new(1)),
        }
    }

    /// Reads one; one line that says why it cannot be used, and what helps.
    pub(super) async fn read(&self, name: &LocalName) -> Result<Secret, String> {
        let slot = Arc::clone(&self.slot)
            .acquire_owned()
            .await
            .map_err(|error| error.to_string())?;
        let (secrets, name) = (self.secrets.clone(), name.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let read = secrets.read(&name);
            drop(slot);
            read
        });
        match reading.await {
            Ok(Ok(secret)) => Ok(secret),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}
