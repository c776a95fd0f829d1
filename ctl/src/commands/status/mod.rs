//! `status`: how the cluster is.

mod screen;

use std::io::{self, IsTerminal};
use std::time::Duration;

use interlock_proto::v1;

use crate::cli::{Connection, Format, Status};
use crate::client::{Client, SHORT, keep_watching};
use crate::context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{Out, status_text, status_value};

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
    // A terminal shows the newest state, as much of it as there is room for; a pipe gets one after the other.
    if io::stdout().is_terminal() && format == Format::Table {
        return screen::show(&coordinators, client, out).await;
    }
    let lost = |why: &str| out.say(why);
    let watching = async |client: &Client| {
        watch(client, |status| {
            out.stream(
                format,
                || status_value(&status),
                |paint| status_text(&status, paint),
            )
        })
        .await
    };
    keep_watching(&coordinators, client, lost, watching).await
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

/// Hands over each status until the coordinator stops.
async fn watch(
    client: &Client,
    mut seen: impl FnMut(v1::Status) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let doing = "watch the status";
    let request = v1::WatchStatusRequest {
        min_interval_ms: u64::try_from(AT_MOST_EVERY.as_millis()).unwrap_or(500),
    };
    let mut cluster = client.cluster();
    let mut stream = client
        .call(doing, SHORT, cluster.watch_status(request))
        .await?;
    while let Some(status) = stream
        .message()
        .await
        .map_err(|status| client.failed(doing, status))?
    {
        seen(status)?;
    }
    Ok(())
}
