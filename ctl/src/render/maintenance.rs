//! What is in maintenance.

use interlock_proto::v1;
use interlock_proto::v1::maintenance_scope::Of;
use serde_json::{Value, json};

use super::{Paint, Table, Tone, date_time, rfc3339};

/// A line for each.
pub(crate) fn maintenance_table(all: &[v1::Maintenance], paint: Paint) -> String {
    let mut table = Table::new(["maintenance", "owner", "since", "until", "reason"]);
    for one in all {
        let of = match scope(one) {
            Some(Of::Node(node)) => format!("node {node}"),
            Some(Of::Service(service)) => format!("service {service}"),
            None => "-".to_owned(),
        };
        table.row([
            (of, Tone::Doubt),
            (one.owner.clone(), Tone::Plain),
            (date_time(one.since_ms), Tone::Plain),
            (date_time(one.until_ms), Tone::Plain),
            (one.reason.clone(), Tone::Plain),
        ]);
    }
    table.render(paint)
}

/// One of them, for programs.
pub(crate) fn maintenance_value(one: &v1::Maintenance) -> Value {
    let (node, service) = match scope(one) {
        Some(Of::Node(node)) => (Some(node), None),
        Some(Of::Service(service)) => (None, Some(service)),
        None => (None, None),
    };
    json!({
        "node": node,
        "service": service,
        "owner": one.owner,
        "reason": one.reason,
        "since": rfc3339(one.since_ms),
        "until": rfc3339(one.until_ms),
    })
}

fn scope(one: &v1::Maintenance) -> Option<&Of> {
    one.scope.as_ref()?.of.as_ref()
}
