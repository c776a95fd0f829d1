//! Ctrl-C.
//!
//! One listener for the whole of a command: with a new one for each wait, a signal that comes between two waits would be
//! lost, since it no longer ends the program by itself either.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Listens for Ctrl-C from now on.
#[derive(Debug)]
pub(crate) struct Interrupt(Signal);

impl Interrupt {
    /// Takes Ctrl-C over from the system, which would end the program at once.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let signal = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        Ok(Self(signal))
    }

    /// Waits for Ctrl-C; at once if it came since the last wait.
    pub(crate) async fn pressed(&mut self) {
        if self.0.recv().await.is_none() {
            // The runtime ends; nobody can press anything any more.
            std::future::pending::<()>().await;
        }
    }
}
