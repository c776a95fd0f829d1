//! When a process that was started counts as running.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::config::Ready;
use crate::session::Clock;
use crate::shim::Run;

/// The pause between two tries to connect. Readiness cannot be heard, only asked for.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// How long one try to connect may take. The address is normally on this machine.
const TRY_LIMIT: Duration = Duration::from_secs(1);

/// Waits until the process is ready. May wait for ever; ended by who waits for its death beside.
pub(super) async fn ready(rule: Ready, run: &Run) {
    match rule {
        Ready::Started => {}
        Ready::After(period) => {
            // An adopted process has lived for a while already.
            let lived = run
                .started_boot()
                .map(|started| Clock.mono().saturating_sub(started))
                .unwrap_or_default();
            sleep(period.saturating_sub(lived)).await;
        }
        Ready::Tcp(address) => {
            while !matches!(
                timeout(TRY_LIMIT, TcpStream::connect(address)).await,
                Ok(Ok(_))
            ) {
                sleep(TRY_AGAIN).await;
            }
        }
    }
}
