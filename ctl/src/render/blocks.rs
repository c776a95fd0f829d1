//! What has failed over too often, and waits for a person.

use std::time::Duration;

use interlock_proto::v1;
use serde_json::{Value, json};

use super::{Paint, Table, Tone, date_time, elapsed, rfc3339};

/// A line for each.
pub(crate) fn blocks_table(all: &[v1::FailoverBlock], paint: Paint) -> String {
    let mut table = Table::new(["blocked", "since", "spent", "until"]);
    for one in all {
        let of = match one.service.as_str() {
            "" => "the cluster".to_owned(),
            service => format!("service {service}"),
        };
        let window = elapsed(Duration::from_millis(one.window_ms));
        table.row([
            (of, Tone::Bad),
            (date_time(one.since_ms), Tone::Plain),
            (
                format!("{} failovers within {window}", one.times),
                Tone::Plain,
            ),
            (one.command.clone(), Tone::Plain),
        ]);
    }
    table.render(paint)
}

/// One of them, for programs.
pub(crate) fn block_value(one: &v1::FailoverBlock) -> Value {
    json!({
        "service": (!one.service.is_empty()).then_some(&one.service),
        "since": rfc3339(one.since_ms),
        "times": one.times,
        "window_ms": one.window_ms,
        "command": one.command,
    })
}
