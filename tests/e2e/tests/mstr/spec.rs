//! The shipped spec, as it is on loopback.
//!
//! Services, edges, capacity and what is checked are the shipped ones. Other are: addresses and ports, processes in place of
//! units, no machines that are switched, short intervals, and a drain that a test can wait for.

use anyhow::{Result, ensure};

const SHIPPED: &str = include_str!("../../../../deploy/clusters/mstr.yaml");

/// Texts of the shipped spec, and what stands for them.
const INSTEAD: [(&str, &str); 8] = [
    ("cluster: mstr", "cluster: local"),
    (
        "coordinators: [mgmt1] ",
        "coordinators: [mgmt]\n  heartbeat: 200ms\n  late: 1s\n  lost: 3s # ",
    ),
    ("10.8.0.12:5432", "NET.12:8080"),
    ("10.8.0.", "NET."),
    ("{address}:34952", "{address}:8080"),
    ("{address}:80\"", "{address}:8080\""),
    ("/etc/nginx/conf.d/collaboration.conf }", "DIR/lb.members }"),
    ("drain: 10m }", "drain: 2s, every: 300ms }"),
];

/// It, for [`interlock_e2e::local::Layout`].
pub(crate) fn adapted() -> Result<String> {
    let mut text = SHIPPED.to_owned();
    for (shipped, here) in INSTEAD {
        ensure!(text.contains(shipped), "the shipped spec has no {shipped}");
        text = text.replace(shipped, here);
    }
    let mut spec = String::new();
    let (mut section, mut service, mut key) = ("", "", "");
    for line in text.lines() {
        let words = line.trim();
        match line.len() - line.trim_start().len() {
            0 if !words.is_empty() && !words.starts_with('#') => {
                section = words.split(':').next().unwrap_or_default();
            }
            2 => service = words.trim_end_matches(':'),
            4 => key = words,
            _ => {}
        }
        let line = match (section, key) {
            ("power", _) => continue,
            ("nodes", _) if service.starts_with("mgmt1") => continue,
            ("nodes", _) => match line.split_once(", power:") {
                Some((node, _)) => format!("{node} }}"),
                None => line.to_owned(),
            },
            (_, "checks:") if words.ends_with(" }") && line.starts_with("      ") => format!(
                "{}, every: 300ms, timeout: 2s, fresh: 10s, fail: 2 }}",
                line.trim_end_matches(" }")
            ),
            _ if words.starts_with("manager: { systemd:") => {
                format!("    manager: {{ process: {{ name: {service} }} }}")
            }
            _ => line.to_owned(),
        };
        spec.push_str(&line);
        spec.push('\n');
    }
    Ok(spec)
}
