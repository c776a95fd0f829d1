//! `why`: on what a move of a role rested, and where the time went.

use std::time::Duration;

use interlock_model::suggest::nearest;
use interlock_proto::v1;
use serde_json::{Value, json};

use crate::cli::{Connection, Why, WhyAbout};
use crate::client::{Client, SHORT};
use crate::context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{Out, Paint, Tone, clean, clock_time, date_time, elapsed, rfc3339};

use super::events::{event_line, event_value};
use super::status;

/// How long after the decision its event may have been written down, in milliseconds.
const WRITTEN_LATER: u64 = 5000;

pub(super) async fn run(connection: &Connection, args: &Why, out: Out) -> Outcome {
    if let Some(WhyAbout::Event(number)) = &args.about
        && let Some(option) = args.of_service()
    {
        return Err(Failure::Usage(format!(
            "{option} is about the epochs of a service, and {number} is an event, which has one decision behind it: \
             `interlockctl why {number}`, or `interlockctl why SERVICE {option} N`"
        )));
    }
    let client = context::coordinators(connection)?.connect().await?;
    let last = args.last.unwrap_or(1);
    let (event, decisions) = match &args.about {
        None => (None, newest_of_all(&client).await?),
        Some(WhyAbout::Service(service)) => {
            let epoch = args.epoch.unwrap_or(0);
            (None, list(&client, service.as_str(), last, epoch).await?)
        }
        Some(WhyAbout::Event(number)) => {
            let event = event(&client, *number).await?;
            let decisions = behind(&client, &event).await?;
            (Some(event), decisions)
        }
    };
    out.show(
        args.output.output,
        || {
            json!({
                "event": event.as_ref().map(event_value),
                "decisions": decisions.iter().map(value).collect::<Vec<_>>(),
            })
        },
        |paint| {
            let head = event.as_ref().map(|event| event_line(event, paint) + "\n");
            let texts = decisions.iter().map(|decision| text(decision, paint));
            head.into_iter().chain(texts).collect::<Vec<_>>().join("\n")
        },
    )?;
    if decisions.is_empty() {
        out.say(&match (&args.about, args.epoch) {
            (Some(WhyAbout::Event(_)), _) => {
                "no decision over a role stands behind this event: its own text is all there is"
                    .to_owned()
            }
            (Some(WhyAbout::Service(service)), epoch) => {
                undecided(service.as_str(), epoch, &status::get(&client).await?)?
            }
            (None, _) => {
                "no role has moved yet (`interlockctl status` says why, where one should have)"
                    .to_owned()
            }
        })?;
    }
    Ok(Exit::Ok)
}

/// Why there is no decision over a service; an error if there is no such service.
fn undecided(name: &str, epoch: Option<u64>, status: &v1::Status) -> Result<String, Failure> {
    let Some(service) = status.services.iter().find(|it| it.service == name) else {
        return Err(Failure::Refused(unknown(name, status)));
    };
    Ok(match (epoch, &service.lease) {
        (Some(epoch), Some(_)) => format!(
            "no record of epoch {epoch} of {name}: the last 100 of a service are kept (`interlockctl why {name} --last 100`)"
        ),
        (None, Some(_)) => format!("no epoch of {name} has begun yet: it is {}", state(service)),
        (_, None) => format!(
            "{name} has no lease (`failover` in the spec), so nothing moves a role of it, and nothing was decided over one; \
             it is {}",
            state(service)
        ),
    })
}

fn state(service: &v1::ServiceStatus) -> String {
    match service.reason.as_str() {
        "" => clean(&service.state),
        reason => clean(&format!("{}: {reason}", service.state)),
    }
}

/// What somebody may have meant that is no service.
fn unknown(name: &str, status: &v1::Status) -> String {
    if name.starts_with("op-") {
        return format!(
            "{name} is an operation: `interlockctl operation show {name}` tells what it did and what it waits for"
        );
    }
    if status.nodes.iter().any(|node| node.node == name) {
        return format!(
            "{name} is a node: `interlockctl node show {name}` tells how it is; `why` is about the roles of services"
        );
    }
    let known: Vec<&str> = status
        .services
        .iter()
        .map(|it| it.service.as_str())
        .collect();
    let has = match nearest(name, known.iter().copied()) {
        Some(near) => format!(": did you mean {near}? It has"),
        None => "; it has".to_owned(),
    };
    clean(&format!(
        "the spec has no service {name}{has} {}",
        known.join(", ")
    ))
}

async fn list(
    client: &Client,
    service: &str,
    limit: u32,
    epoch: u64,
) -> Result<Vec<v1::Decision>, Failure> {
    let request = v1::ListDecisionsRequest {
        service: service.to_owned(),
        limit,
        epoch,
    };
    let mut events = client.events();
    let doing = "read why epochs began";
    let listed = client
        .call(doing, SHORT, events.list_decisions(request))
        .await?;
    Ok(listed.decisions)
}

/// The newest of each service that has a lease, by name.
async fn newest_of_all(client: &Client) -> Result<Vec<v1::Decision>, Failure> {
    let status = status::get(client).await?;
    let mut newest = Vec::new();
    for service in status
        .services
        .iter()
        .filter(|service| service.lease.is_some())
    {
        newest.extend(list(client, &service.service, 1, 0).await?);
    }
    Ok(newest)
}

async fn event(client: &Client, number: u64) -> Result<v1::Event, Failure> {
    let request = v1::ListEventsRequest {
        after: number.saturating_sub(1),
        limit: 1,
        tail: false,
    };
    let mut events = client.events();
    let listed = client
        .call("read the event", SHORT, events.list_events(request))
        .await?;
    let found = listed
        .events
        .into_iter()
        .find(|event| event.revision == number);
    found.ok_or_else(|| {
        Failure::Refused(format!(
            "there is no event {number}, or it is no longer kept: `interlockctl events -o json` has their numbers"
        ))
    })
}

/// The decision that the service of an event was under when it was written down.
async fn behind(client: &Client, event: &v1::Event) -> Result<Vec<v1::Decision>, Failure> {
    if event.service.is_empty() {
        return Ok(Vec::new());
    }
    let all = list(client, &event.service, 100, 0).await?;
    let decided_by = |until: u64| all.iter().find(|decision| decision.decided_ms <= until);
    let behind =
        decided_by(event.at_ms).or_else(|| decided_by(event.at_ms.saturating_add(WRITTEN_LATER)));
    Ok(behind.cloned().into_iter().collect())
}

fn text(decision: &v1::Decision, paint: Paint) -> String {
    let mut lines = vec![paint.tone(
        Tone::Strong,
        &format!(
            "{} epoch {}: {} was made the primary, by {}  {}",
            clean(&decision.service),
            decision.epoch,
            clean(&decision.node),
            clean(&decision.cause),
            date_time(decision.decided_ms),
        ),
    )];
    let before = match decision.before.as_str() {
        "" => "nobody",
        before => before,
    };
    lines.push(row("before", &clean(before)));
    let over = decision
        .over
        .iter()
        .rev()
        .map(|over| format!("epoch {}: {}", over.epoch, clean(&over.why)));
    lines.extend(rows("over", over));
    lines.extend(rows(
        "seen",
        decision.evidence.iter().map(|seen| clean(seen)),
    ));
    let candidates = decision.candidates.iter().map(|candidate| {
        let fit = match candidate.unfit.as_str() {
            "" if candidate.node == decision.node => "taken",
            "" => "could have been taken as well",
            unfit => unfit,
        };
        format!("{}: {}", clean(&candidate.node), clean(fit))
    });
    lines.extend(rows("candidates", candidates));
    lines.extend(rows("times", times(decision).into_iter()));
    lines.join("\n") + "\n"
}

/// What happened when, the first by the clock and each later one by the time since then.
fn times(decision: &v1::Decision) -> Vec<String> {
    let all = phases(decision);
    let happened: Vec<_> = all.iter().filter(|(_, _, at)| *at > 0).collect();
    let Some((_, _, first)) = happened.first() else {
        return Vec::new();
    };
    happened
        .iter()
        .map(|(_, what, at)| match at.saturating_sub(*first) {
            0 => format!("{} {what}", clock_time(*at)),
            later => format!("+{} {what}", elapsed(Duration::from_millis(later))),
        })
        .collect()
}

/// Word for programs, words for people, and when; 0 is not known, or not yet.
fn phases(decision: &v1::Decision) -> [(&'static str, &'static str, u64); 5] {
    [
        (
            "last_renewed",
            "the lease was renewed, or given back, for the last time",
            decision.last_renewed_ms,
        ),
        (
            "suspected",
            "its holder was suspected",
            decision.suspected_ms,
        ),
        ("decided", "decided", decision.decided_ms),
        ("held", "the new holder has the right", decision.held_ms),
        ("primary", "it is primary", decision.primary_ms),
    ]
}

fn row(name: &str, text: &str) -> String {
    format!("  {name:<11} {text}")
}

/// A row for each text, the name before the first.
fn rows(name: &str, texts: impl Iterator<Item = String>) -> Vec<String> {
    let named = std::iter::once(name).chain(std::iter::repeat(""));
    named
        .zip(texts)
        .map(|(name, text)| row(name, &text))
        .collect()
}

fn value(decision: &v1::Decision) -> Value {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let times: serde_json::Map<String, Value> = phases(decision)
        .into_iter()
        .map(|(word, _, at)| {
            (
                word.to_owned(),
                json!((at > 0).then(|| rfc3339(at)).flatten()),
            )
        })
        .collect();
    json!({
        "service": decision.service,
        "epoch": decision.epoch,
        "node": decision.node,
        "cause": decision.cause,
        "before": some(&decision.before),
        "over": decision.over.iter().map(|over| json!({
            "epoch": over.epoch,
            "how": over.how,
            "why": over.why,
        })).collect::<Vec<_>>(),
        "evidence": decision.evidence,
        "candidates": decision.candidates.iter().map(|candidate| json!({
            "node": candidate.node,
            "unfit": some(&candidate.unfit),
        })).collect::<Vec<_>>(),
        "times": times,
    })
}
