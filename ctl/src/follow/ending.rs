//! How an operation ended, and what a person does next if it did not end well.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::action::Action;

use super::commands;
use super::progress::{Progress, needs_person};
use crate::render::{Paint, Tone, clean, counted, elapsed, operation_tone};

/// The summary: duration, steps, and what was proven by whom.
pub(super) fn summary(progress: &Progress, paint: Paint) -> String {
    let summary = progress.summary();
    let until = match summary.ended_ms {
        0 => progress.now(),
        ended => ended,
    };
    let took = elapsed(Duration::from_millis(
        until.saturating_sub(summary.started_ms),
    ));
    let mut text = format!(
        "{} {} {}{}: {} after {took}, {} of {} settled\n",
        clean(&summary.operation),
        clean(&summary.kind),
        clean(&summary.scope),
        progress
            .cluster()
            .map(|cluster| format!(" of {cluster}"))
            .unwrap_or_default(),
        paint.tone(operation_tone(&summary.state), &clean(&summary.state)),
        summary.steps_done,
        counted(summary.steps, "step"),
    );
    for ((what, claim), count) in proven(progress) {
        text.push_str(&format!(
            "  {} {} {claim}\n",
            paint.tone(Tone::Good, "proven"),
            counted(count, what)
        ));
    }
    let skipped: Vec<&str> = with_state(progress, "skipped");
    if !skipped.is_empty() {
        text.push_str(&format!(
            "  {} {}: taken for done on a person's word\n",
            paint.tone(Tone::Doubt, "not proven"),
            clean(&skipped.join(", "))
        ));
    }
    text
}

/// What the steps that are done have proven, of what (the word for one), and of how many. Of an instance or a machine that went down and came up
/// again it is told once, as what it is: neither half of it holds at the end without the other.
fn proven(progress: &Progress) -> BTreeMap<(&'static str, &'static str), usize> {
    let mut instances: BTreeMap<(&str, &str), (bool, bool)> = BTreeMap::new();
    let mut machines: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    let mut confirmed = 0;
    for step in with_state(progress, "done") {
        let Some(planned) = progress.planned(step) else {
            continue;
        };
        let node = planned.node.as_ref().map_or("", |node| node.as_str());
        let service = planned.service.as_ref().map_or("", |it| it.as_str());
        let (went_down, came_up) = match &planned.action {
            Action::Start | Action::Verify | Action::PowerOn { .. } => (false, true),
            Action::Stop | Action::PowerOff { .. } => (true, false),
            Action::Reboot => (true, true),
            Action::Approve { .. } => {
                confirmed += 1;
                continue;
            }
            Action::Check | Action::Drain { .. } | Action::Admit { .. } => continue,
        };
        let seen = match &planned.action {
            Action::PowerOn { .. } | Action::PowerOff { .. } | Action::Reboot => {
                machines.entry(node).or_default()
            }
            _ => instances.entry((service, node)).or_default(),
        };
        seen.0 |= went_down;
        seen.1 |= came_up;
    }
    let mut claims = BTreeMap::new();
    for (went_down, came_up) in instances.into_values() {
        let claim = match (went_down, came_up) {
            (true, true) => {
                "stopped and running again, by the manager's word, with every check green"
            }
            (true, false) => "stopped, by the manager's word",
            _ => "running, by the manager's word, with every check green",
        };
        *claims.entry(("instance", claim)).or_insert(0) += 1;
    }
    for (went_down, came_up) in machines.into_values() {
        let claim = match (went_down, came_up) {
            (true, true) => "restarted, heard with a new boot",
            (true, false) => "off, by the power source's word",
            _ => "on, heard with a new boot",
        };
        *claims.entry(("machine", claim)).or_insert(0) += 1;
    }
    if confirmed > 0 {
        claims.insert(("confirmation", "by people"), confirmed);
    }
    claims
}

fn with_state<'a>(progress: &'a Progress, state: &str) -> Vec<&'a str> {
    let steps = progress.operation().steps.iter();
    steps
        .filter(|step| step.state == state)
        .map(|step| step.step.as_str())
        .collect()
}

/// What needs attention, and the exact commands to go on.
pub(super) fn what_now(progress: &Progress) -> String {
    let operation = progress.operation();
    let mut text = format!(
        "{} needs attention: {}\n",
        clean(progress.name()),
        clean(&operation.attention)
    );
    for step in operation.steps.iter().filter(|it| needs_person(&it.state)) {
        text.push_str(&format!(
            "  {}\n",
            clean(&format!("{} {}: {}", step.step, step.state, step.evidence))
        ));
    }
    let running = with_state(progress, "running");
    if !running.is_empty() {
        text.push_str(&format!(
            "Still under way, and going on: {}\n",
            clean(&running.join(", "))
        ));
    }
    text.push_str("Nothing later begins until you decide:\n");
    let commands = commands::to_go_on(progress);
    let width = commands.iter().map(|(it, _)| it.len()).max().unwrap_or(0);
    for (command, does) in commands {
        text.push_str(&format!("  {:<width$}  {does}\n", clean(&command)));
    }
    text
}
