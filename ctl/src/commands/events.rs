//! `events`: what happened, and who did what.

use interlock_proto::v1;
use serde_json::{Value, json};

use crate::cli::{Connection, Events, Format};
use crate::client::{Client, SHORT, keep_watching};
use crate::context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{Out, Paint, Tone, clean, date_time, rfc3339};

/// From how long after it happened, in milliseconds, an event is shown with both times. An act by hand takes up to five
/// minutes.
const TOLD_LATER: u64 = 300_000;

pub(super) async fn run(connection: &Connection, args: &Events, out: Out) -> Outcome {
    let coordinators = context::coordinators(connection)?;
    let client = coordinators.connect().await?;
    let format = args.output.output;
    let mut last = args.after.unwrap_or(0);
    let listed = list(&client, args).await?;
    if !args.follow {
        out.show(
            format,
            || listed.iter().map(event_value).collect(),
            |paint| {
                let lines = listed.iter().map(|event| event_line(event, paint) + "\n");
                lines.collect()
            },
        )?;
        return Ok(Exit::Ok);
    }
    for event in &listed {
        last = last.max(event.revision);
        print(event, format, out)?;
    }
    let watching = async |client: &Client| watch(client, &mut last, format, out).await;
    keep_watching(&coordinators, client, |why| out.say(why), watching).await
}

async fn list(client: &Client, args: &Events) -> Result<Vec<v1::Event>, Failure> {
    let mut all = Vec::new();
    let mut after = args.after.unwrap_or(0);
    loop {
        let request = v1::ListEventsRequest {
            after,
            limit: if args.after.is_some() {
                1000
            } else {
                args.tail
            },
            tail: args.after.is_none(),
        };
        let mut events = client.events();
        let page = client
            .call("list events", SHORT, events.list_events(request))
            .await?;
        let last = page.events.last().map(|event| event.revision);
        all.extend(page.events);
        match last {
            Some(last) if page.more && args.after.is_some() => after = last,
            _ => return Ok(all),
        }
    }
}

async fn watch(client: &Client, last: &mut u64, format: Format, out: Out) -> Result<(), Failure> {
    let doing = "watch events";
    let request = v1::WatchEventsRequest { after: *last };
    let mut events = client.events();
    let mut stream = client
        .call(doing, SHORT, events.watch_events(request))
        .await?;
    while let Some(event) = stream
        .message()
        .await
        .map_err(|status| client.failed(doing, status))?
    {
        *last = event.revision;
        print(&event, format, out)?;
    }
    Ok(())
}

fn print(event: &v1::Event, format: Format, out: Out) -> Result<(), Failure> {
    out.stream(
        format,
        || event_value(event),
        |paint| event_line(event, paint),
    )
}

pub(super) fn event_line(event: &v1::Event, paint: Paint) -> String {
    let about: Vec<&str> = [&event.operation, &event.service, &event.node]
        .into_iter()
        .filter(|name| !name.is_empty())
        .map(String::as_str)
        .collect();
    let who = match event.who.as_str() {
        "" => String::new(),
        who => format!(" (by {})", clean(who)),
    };
    // What was told at once needs no second time.
    let when = match event.happened_ms {
        0 => String::new(),
        happened if event.at_ms.saturating_sub(happened) < TOLD_LATER => String::new(),
        happened => format!(" (begun {})", date_time(happened)),
    };
    format!(
        "{}  {}  {:<20} {}{who}{when}",
        date_time(event.at_ms),
        paint.tone(Tone::Strong, &format!("{:<18}", clean(&event.kind))),
        clean(&about.join(" ")),
        clean(&event.text)
    )
}

/// An event, for programs.
pub(super) fn event_value(event: &v1::Event) -> Value {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    json!({
        "number": event.revision,
        "at": rfc3339(event.at_ms),
        "happened": match event.happened_ms {
            0 => rfc3339(event.at_ms),
            happened => rfc3339(happened),
        },
        "kind": event.kind,
        "node": some(&event.node),
        "service": some(&event.service),
        "operation": some(&event.operation),
        "who": some(&event.who),
        "text": event.text,
    })
}
