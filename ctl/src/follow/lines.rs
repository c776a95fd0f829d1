//! One line per change, for pipes and logs.

use std::time::Duration;

use super::commands;
use super::progress::{Change, Progress};
use crate::render::{Paint, clean, counted, elapsed, ending, moment, operation_tone, step_tone};

/// The change as a line: time, what, state, and what there is to say.
pub(super) fn line(change: &Change, progress: &Progress, paint: Paint) -> String {
    let time = |at: &u64| moment(*at, progress.now());
    match change {
        Change::Operation { state, at } => {
            let summary = progress.summary();
            let said = match state.as_str() {
                "needs-attention" => progress.operation().attention.clone(),
                "paused" | "pausing" => format!(
                    "nothing new begins; go on with: interlockctl operation resume {}",
                    progress.name()
                ),
                _ if !progress.operation().end_waits_for.is_empty() => ending(progress.operation()),
                _ => format!(
                    "{} {}, {} of {} settled",
                    summary.kind,
                    summary.scope,
                    summary.steps_done,
                    counted(summary.steps, "step")
                ),
            };
            format!(
                "{}  {:<30}  {}  {}",
                time(at),
                clean(progress.name()),
                paint.tone(operation_tone(state), &format!("{:<10}", clean(state))),
                clean(&said)
            )
        }
        Change::Step { step, at } => match progress.step(step) {
            None => format!("{}  {}", time(at), clean(step)),
            Some(status) => {
                let text = format!(
                    "{}  {:<30}  {}  {}",
                    time(at),
                    clean(step),
                    paint.tone(
                        step_tone(&status.state),
                        &format!("{:<10}", clean(&status.state))
                    ),
                    clean(&said(progress, step))
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
