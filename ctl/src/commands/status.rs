//! `status`: how the cluster is.

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::Context as _;
use interlock_proto::v1;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Connection, Format, Status};
use crate::client::{Client, SHORT, keep_watching};
use crate::context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{Out, fit, status_text, status_value};

/// How often a watched status may change: faster than a person reads is of no use.
const AT_MOST_EVERY: Duration = Duration::from_millis(500);

pub(super) async fn run(connection: &Connection, args: &Status, out: Out) -> Outcome {
    let coordinators = context::coordinators(connection)?;
    let client = coordinators.connect().await?;
    let format = args.output.output;
    if !args.watch {
        let status = get(&client).await?;
        out.show(
            format,
            || status_value(&status),
            |paint| status_text(&status, paint),
        )?;
        return Ok(Exit::Ok);
    }
    let watching = async |client: &Client| watch(client, format, out).await;
    keep_watching(&coordinators, client, out, watching).await
}

/// The status now.
pub(super) async fn get(client: &Client) -> Result<v1::Status, Failure> {
    let mut cluster = client.cluster();
    Ok(client
        .call(
            "read the status",
            SHORT,
            cluster.get_status(v1::GetStatusRequest {}),
        )
        .await?)
}

async fn watch(client: &Client, format: Format, out: Out) -> Result<(), Failure> {
    let doing = "watch the status";
    let request = v1::WatchStatusRequest {
        min_interval_ms: u64::try_from(AT_MOST_EVERY.as_millis()).unwrap_or(500),
    };
    let mut cluster = client.cluster();
    let mut stream = client
        .call(doing, SHORT, cluster.watch_status(request))
        .await?;
    // A terminal shows the newest state, as much of it as there is room for; a pipe gets one after the other.
    let screen = io::stdout().is_terminal() && format == Format::Table;
    let mut resized = signal(SignalKind::window_change())
        .context("cannot listen for changes of the terminal's size")?;
    let mut last: Option<v1::Status> = None;
    loop {
        tokio::select! {
            next = stream.message() => {
                last = next.map_err(|status| client.failed(doing, status))?;
                if last.is_none() {
                    return Ok(());
                }
            }
            Some(()) = resized.recv(), if screen => {}
        }
        let Some(status) = &last else { continue };
        out.stream(
            format,
            || status_value(status),
            |paint| {
                let text = status_text(status, paint);
                if screen {
                    // The line's own end is the last: one more would scroll the first line away.
                    format!("\u{1b}[H\u{1b}[J{}", fit(&text, paint).trim_end())
                } else {
                    text
                }
            },
        )?;
    }
}
