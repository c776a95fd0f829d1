//! `power`: power sources and their plugs.

use std::time::Duration;

use interlock_proto::v1;
use serde_json::json;

use super::waiting;
use crate::cli::{Connection, Names, PowerCommand};
use crate::context;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::render::{Out, Table, Tone, clean, counted, date_time, power, rfc3339};

/// Each power source takes some seconds, one after the other; the contract's deadline.
const VERIFYING: Duration = Duration::from_secs(1800);

/// How long it may take to say how far it is.
const SHORT: Duration = Duration::from_secs(4);

pub(super) async fn run(connection: &Connection, command: PowerCommand, out: Out) -> Outcome {
    let PowerCommand::Verify {
        nodes,
        attest,
        output,
    } = command;
    let client = context::coordinators(connection)?.connect().await?;
    let named: Vec<String> = Names::all(&nodes).map(|node| node.to_string()).collect();
    let request = v1::VerifyPowerRequest {
        nodes: named.clone(),
        attest: attest.unwrap_or_default(),
    };
    let mut cluster = client.cluster();
    let verifying = client.call("verify power", VERIFYING, cluster.verify_power(request));
    let words = async |waited: Duration| {
        let mut cluster = client.cluster();
        let request = v1::GetStatusRequest::default();
        let status = client.call("read the status", SHORT, cluster.get_status(request));
        progress(status.await.ok().as_ref(), &named, waited)
    };
    let verified = waiting::answer(verifying, words, out).await?;
    let matches = verified.matches;
    let value = || matches.iter().map(value).collect();
    out.show(output.output, value, |paint| {
        let mut table = Table::new([
            "node", "device", "plug", "power", "proof", "since", "by", "detail",
        ]);
        for found in &matches {
            table.row([
                (found.node.clone(), Tone::Plain),
                (found.device.clone(), Tone::Plain),
                (found.plug.clone(), Tone::Plain),
                power(found.power),
                proof(found),
                (date_time(found.since_ms), Tone::Plain),
                (found.by.clone(), Tone::Plain),
                (detail(found), Tone::Plain),
            ]);
        }
        table.render(paint)
    })?;
    let remedies = remedies(&matches);
    for remedy in &remedies {
        out.say(&clean(remedy))?;
    }
    Ok(if remedies.is_empty() {
        Exit::Ok
    } else {
        Exit::Refused
    })
}

/// How far it is: an answer is as old as its question.
fn progress(status: Option<&v1::Status>, named: &[String], waited: Duration) -> String {
    let nodes = status.map_or(&[][..], |status| &status.nodes);
    let meant = nodes.iter().filter(|node| match named {
        [] => !node.power_verified.is_empty(),
        named => named.contains(&node.node),
    });
    let within = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    let (mut answers, mut all) = (0, 0);
    for node in meant {
        all += 1;
        answers += u32::from(node.power_age_ms.is_some_and(|age| age <= within));
    }
    let far = match all {
        0 => String::new(),
        _ => format!(": {answers} of {} told", counted(all, "node")),
    };
    format!(
        "waiting for power sources for {} s, each answers one question after the other{far}",
        waited.as_secs()
    )
}

/// One node, for programs.
fn value(found: &v1::PowerMatch) -> serde_json::Value {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    json!({
        "node": found.node,
        "device": found.device,
        "plug": found.plug,
        "power": power(found.power).0,
        "proof": proof(found).0,
        "matched": is_proven(found),
        "matched_by": some(&found.matched_by),
        "since": rfc3339(found.since_ms),
        "by": some(&found.by),
        "expected": some(&found.expected),
        "found": some(&found.found),
        "detail": found.detail,
    })
}

fn is_proven(found: &v1::PowerMatch) -> bool {
    match found.proof() {
        v1::PlugProof::Alias | v1::PlugProof::Uuid | v1::PlugProof::Attested => true,
        v1::PlugProof::Unspecified | v1::PlugProof::Unproven | v1::PlugProof::Contradicted => false,
    }
}

fn proof(found: &v1::PowerMatch) -> (String, Tone) {
    let (word, tone) = match found.proof() {
        v1::PlugProof::Alias => ("alias", Tone::Good),
        v1::PlugProof::Uuid => ("uuid", Tone::Good),
        v1::PlugProof::Attested => ("attested", Tone::Good),
        v1::PlugProof::Contradicted => ("contradicted", Tone::Bad),
        v1::PlugProof::Unspecified | v1::PlugProof::Unproven => ("unproven", Tone::Doubt),
    };
    (word.to_owned(), tone)
}

fn detail(found: &v1::PowerMatch) -> String {
    match found.proof() {
        v1::PlugProof::Contradicted => {
            format!("expected {}, found {}", found.expected, found.found)
        }
        // The words of a person tell more than that the device still cannot tell.
        v1::PlugProof::Attested if found.power() != v1::Power::Unknown => found.matched_by.clone(),
        _ => found.detail.clone(),
    }
}

/// What is to be done, a line for each kind of trouble.
fn remedies(matches: &[v1::PowerMatch]) -> Vec<String> {
    let names = |these: &dyn Fn(&v1::PowerMatch) -> bool| -> Vec<&str> {
        let found = matches.iter().filter(|found| these(found));
        found.map(|found| found.node.as_str()).collect()
    };
    let silent = |found: &v1::PowerMatch| found.power() == v1::Power::Unknown;
    let contradicted = |found: &v1::PowerMatch| found.proof() == v1::PlugProof::Contradicted;
    let mut remedies: Vec<String> = matches
        .iter()
        .filter(|found| contradicted(found))
        .map(|found| {
            format!(
                "{}: plug {} of {} is another machine's; expected {}, found {}. No plan switches it: {}",
                found.node, found.plug, found.device, found.expected, found.found, found.detail
            )
        })
        .collect();
    let no_answer = names(&|found| silent(found) && !contradicted(found));
    if !no_answer.is_empty() {
        remedies.push(format!(
            "no answer about {}: see the details, and repeat it when the source answers",
            no_answer.join(", ")
        ));
    }
    let open = names(&|found| !is_proven(found) && !contradicted(found) && !silent(found));
    if !open.is_empty() {
        remedies.push(format!(
            "unproven: {}. No plan switches these. Look at the console of each plug, then: \
             interlockctl power verify {} --attest REASON",
            open.join(", "),
            open.join(" ")
        ));
    }
    remedies
}

#[cfg(test)]
#[path = "power_tests.rs"]
mod tests;
