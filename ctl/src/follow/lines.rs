//! One line per change, for pipes and logs.

use std::time::Duration;

use super::commands;
use super::progress::{Change, Progress};
use crate::render::{Paint, clock_time, elapsed, operation_tone, step_tone};

/// The change as a line: time, what, state, and what there is to say.
pub(super) fn line(change: &Change, progress: &Progress, paint: Paint) -> String {
    let now = clock_time(progress.now());
    match change {
        Change::Operation { state } => {
            let summary = progress.summary();
            let said = match state.as_str() {
                "needs-attention" => progress.operation().attention.clone(),
                "paused" | "pausing" => format!(
                    "nothing new begins; go on with: interlockctl operation resume {}",
                    progress.name()
                ),
                _ => format!(
                    "{} {}, {} of {} steps settled",
                    summary.kind, summary.scope, summary.steps_done, summary.steps
                ),
            };
            format!(
                "{now}  {:<30}  {}  {said}",
                progress.name(),
                paint.tone(operation_tone(state), &format!("{state:<10}"))
            )
        }
        Change::Step { step } => match progress.step(step) {
            None => format!("{now}  {step}"),
            Some(status) => {
                let text = format!(
                    "{now}  {step:<30}  {}  {}",
                    paint.tone(step_tone(&status.state), &format!("{:<10}", status.state)),
                    said(progress, step)
                );
                text.trim_end().to_owned()
            }
        },
    }
}

/// What there is to say of a step in its present state.
fn said(progress: &Progress, id: &str) -> String {
    let Some(step) = progress.step(id) else {
        return String::new();
    };
    if let Some((question, command)) = commands::approval(progress, id) {
        return format!("{question}: {command}");
    }
    let mut parts = Vec::new();
    match (step.began_ms, step.ended_ms) {
        (0, _) => {}
        (began, ended) if ended >= began && ended > 0 => {
            parts.push(elapsed(Duration::from_millis(ended - began)));
        }
        _ => {}
    }
    if step.state == "running" {
        parts.extend(step.reached.iter().rfind(|it| *it != "issued").cloned());
    }
    if step.attempt > 1 {
        parts.push(format!("attempt {}", step.attempt));
    }
    if matches!(step.state.as_str(), "gated" | "waiting") && !step.waits_for.is_empty() {
        parts.push(format!("waits for {}", step.waits_for));
    } else if !step.evidence.is_empty() {
        parts.push(step.evidence.clone());
    }
    parts.join("  ")
}
