//! A spec of `deploy/clusters`, as it is on loopback.
//!
//! Services, edges, capacity and what is checked are the shipped ones. Other are: addresses and ports, as the caller says;
//! processes in place of units; no machines that are switched; and short intervals of all checks.

use anyhow::{Result, ensure};

/// What every one of them has, and what stands for it.
const INSTEAD: [(&str, &str); 1] = [(
    "coordinators: [mgmt1] ",
    "coordinators: [mgmt]\n  heartbeat: 200ms\n  late: 1s\n  lost: 3s # ",
)];

/// How often checks run, and how soon they are believed.
const INTERVALS: &str = ", every: 300ms, timeout: 2s, fresh: 10s, fail: 2 }";

/// It, for a [`Layout`](super::Layout). Its checks are in one line each; those that say how often they run by then are let
/// be.
///
/// # Errors
/// It does not have one of the texts that are to be replaced.
pub fn shipped(spec: &str, instead: &[(&str, &str)]) -> Result<String> {
    let mut text = spec.to_owned();
    for (shipped, here) in INSTEAD.iter().chain(instead) {
        ensure!(text.contains(shipped), "the shipped spec has no {shipped}");
        text = text.replace(shipped, here);
    }
    let mut adapted = String::new();
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
            _ if line.starts_with("cluster:") => "cluster: local".to_owned(),
            ("power", _) => continue,
            ("nodes", _) if service.starts_with("mgmt1") => continue,
            ("nodes", _) => match line.split_once(", power:") {
                Some((node, _)) => format!("{node} }}"),
                None => line.to_owned(),
            },
            (_, "checks:") if words.ends_with(" }") && !words.contains("every:") => {
                format!("{}{INTERVALS}", line.strip_suffix(" }").unwrap_or(line))
            }
            _ if words.starts_with("manager: { systemd:") => {
                format!("    manager: {{ process: {{ name: {service} }} }}")
            }
            _ => line.to_owned(),
        };
        adapted.push_str(&line);
        adapted.push('\n');
    }
    Ok(adapted)
}
