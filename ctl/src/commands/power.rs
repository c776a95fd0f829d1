//! `power`: power sources and their plugs.

use std::time::Duration;

use interlock_proto::v1;
use serde_json::json;

use crate::cli::{Connection, PowerCommand};
use crate::context;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::render::{Out, Table, Tone, power};

/// Each power source takes some seconds, one after the other; the contract's deadline and a little more.
const VERIFYING: Duration = Duration::from_secs(130);

pub(super) async fn run(connection: &Connection, command: PowerCommand, out: Out) -> Outcome {
    let PowerCommand::Verify {
        nodes,
        attest,
        output,
    } = command;
    let client = context::coordinators(connection)?.connect().await?;
    let request = v1::VerifyPowerRequest {
        nodes: nodes.iter().map(ToString::to_string).collect(),
        attest: attest.unwrap_or_default(),
    };
    let mut cluster = client.cluster();
    let matches = client
        .call("verify power", VERIFYING, cluster.verify_power(request))
        .await?
        .matches;
    let value = || {
        matches
            .iter()
            .map(|found| {
                json!({
                    "node": found.node,
                    "device": found.device,
                    "plug": found.plug,
                    "power": power(found.power).0,
                    "matched": !found.matched_by.is_empty(),
                    "matched_by": found.matched_by,
                    "detail": found.detail,
                })
            })
            .collect()
    };
    out.show(output.output, value, |paint| {
        let mut table = Table::new(["node", "device", "plug", "power", "matched", "detail"]);
        for found in &matches {
            let matched = if found.matched_by.is_empty() {
                ("no".to_owned(), Tone::Bad)
            } else {
                (found.matched_by.clone(), Tone::Good)
            };
            table.row([
                (found.node.clone(), Tone::Plain),
                (found.device.clone(), Tone::Plain),
                (found.plug.clone(), Tone::Plain),
                power(found.power),
                matched,
                (found.detail.clone(), Tone::Plain),
            ]);
        }
        table.render(paint)
    })?;
    let open: Vec<&str> = matches
        .iter()
        .filter(|found| found.matched_by.is_empty())
        .map(|found| found.node.as_str())
        .collect();
    if open.is_empty() {
        return Ok(Exit::Ok);
    }
    out.say(&format!(
        "not matched: {}. No plan switches these. Where the source cannot tell, compare by hand, then:\n  \
         interlockctl power verify {} --attest REASON",
        open.join(", "),
        open.join(" ")
    ))?;
    Ok(Exit::Refused)
}
