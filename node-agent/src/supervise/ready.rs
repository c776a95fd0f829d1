//! When a process that was started counts as running.
//!
//! Somebody who answers on its port is not yet the process: the port may be taken by something else. An answer counts
//! while the process itself lives, and if the socket that listens there is one of its own run, wherever that can be told.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::listener::{Owner, owner};
use crate::config::{Listener, Ready};
use crate::session::Clock;
use crate::shim::Run;

/// The pause between two tries to connect. Readiness cannot be heard, only asked for.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// The same while somebody else listens there: to look whose the socket is costs more than to connect.
const TRY_AGAIN_TAKEN: Duration = Duration::from_secs(1);

/// How long one try to connect may take. The address is normally on this machine.
const TRY_LIMIT: Duration = Duration::from_secs(1);

/// Waits until the process is ready, and returns by what that was told; empty if there is nothing to say. Meanwhile `doubt`
/// is told why an answer does not count. May wait for ever; ended by who waits for its death beside.
pub(super) async fn ready(rule: Ready, run: &Run, doubt: impl Fn(String)) -> String {
    match rule {
        Ready::Started => String::new(),
        Ready::After(period) => {
            // An adopted process has lived for a while already.
            let lived = run
                .started_boot()
                .map(|started| Clock.mono().saturating_sub(started))
                .unwrap_or_default();
            sleep(period.saturating_sub(lived)).await;
            String::new()
        }
        Ready::Tcp { address, listener } => loop {
            let mut pause = TRY_AGAIN;
            let connected = timeout(TRY_LIMIT, TcpStream::connect(address)).await;
            // One that is dead by now has not answered; who waits for its death ends this.
            if matches!(connected, Ok(Ok(_))) && run.command_lives() {
                match counts(address, listener, run).await {
                    Ok(by) => return by,
                    Err(why) => doubt(why),
                }
                pause = TRY_AGAIN_TAKEN;
            }
            sleep(pause).await;
        },
    }
}

/// Does an answer on this address count, and what is known of who gave it?
async fn counts(address: SocketAddr, listener: Listener, run: &Run) -> Result<String, String> {
    if listener == Listener::Any {
        return Ok(format!("{address} answers, whoever listens there"));
    }
    let run = run.clone();
    let looked = tokio::task::spawn_blocking(move || owner(address, &run.pids()?)).await;
    match looked {
        Ok(Ok(Owner::Own)) => Ok(format!("listens on {address}")),
        Ok(Ok(Owner::Elsewhere)) => Ok(format!(
            "{address} answers, and nobody in this machine's own network listens there"
        )),
        Ok(Ok(Owner::Unseen)) => Ok(format!(
            "{address} answers, and the agent may not see whose socket that is"
        )),
        Ok(Ok(Owner::Other(who))) => Err(format!(
            "not ready: {address} is answered by another process, {}; stop that, or write listener = \"any\" beside tcp \
             if it is meant",
            who.unwrap_or_else(|| "which cannot be seen".to_owned())
        )),
        Ok(Err(error)) => Ok(format!(
            "{address} answers, and whose socket that is cannot be read: {error}"
        )),
        Err(_) => Err("not ready: the agent is ending".to_owned()),
    }
}
