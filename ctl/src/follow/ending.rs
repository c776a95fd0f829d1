//! How an operation ended, and what a person does next if it did not end well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_model::action::Action;
use interlock_proto::v1;

use super::commands;
use super::progress::{Progress, needs_person};
use crate::render::{Paint, Tone, clean, counted, elapsed, left_down, operation_tone};

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
    // What needs attention, or was ended or taken back, may contradict what was so once.
    let then = match summary.state.as_str() {
        "done" => "",
        _ => ", when the steps were done",
    };
    for ((what, claim), count) in proven(progress) {
        text.push_str(&format!(
            "  {} {} {claim}{then}\n",
            paint.tone(Tone::Good, "proven"),
            counted(count, what)
        ));
    }
    let forced: Vec<String> = progress.forced().iter().map(ToString::to_string).collect();
    if !forced.is_empty() {
        text.push_str(&format!(
            "  {} {}: overridden, and not waited for\n",
            paint.tone(Tone::Doubt, "not proven"),
            clean(&forced.join(", "))
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
    if let Some(left) = left_down(progress.operation(), paint) {
        text.push_str(&format!("  {left}\n"));
    }
    text
}

/// What the steps that are done have proven, of what (the word for one), and of how many. Of an instance or a machine that went down and came up
/// again it is told once, as what it is: neither half of it holds at the end without the other. Of checks is told only where
/// there are some, and whether the operator overrode one of the service's.
fn proven(progress: &Progress) -> BTreeMap<(&'static str, &'static str), usize> {
    let mut instances: BTreeMap<(&str, &str), (bool, bool)> = BTreeMap::new();
    let mut checked: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut machines: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    let mut unheard: BTreeSet<&str> = BTreeSet::new();
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
            Action::Promote
            | Action::VerifyRole { .. }
            | Action::CatchUp
            | Action::Check
            | Action::Drain { .. }
            | Action::Admit { .. }
            | Action::TryFile { .. }
            | Action::WriteFile { .. }
            | Action::RestoreFile { .. } => {
                continue;
            }
        };
        // Without an agent its power source is all that tells.
        let is_told = |told: &v1::StepStatus| told.evidence.ends_with(" says on");
        if progress.step(step).is_some_and(is_told) {
            unheard.insert(node);
        }
        if came_up && !planned.healthy.is_empty() {
            checked.insert((service, node));
        }
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
    let is_forced = |service: &str| {
        let mut forced = progress.forced().iter();
        forced.any(|check| check.service.as_str() == service)
    };
    for ((service, node), (went_down, came_up)) in instances {
        let green = checked.contains(&(service, node));
        let claim = match (went_down, came_up, green, is_forced(service)) {
            (true, true, true, false) => {
                "stopped and running again, as their manager tells, with every check green"
            }
            (true, true, true, true) => {
                "stopped and running again, as their manager tells, with every other check green"
            }
            (true, true, false, _) => "stopped and running again, as their manager tells",
            (true, false, ..) => "stopped, as their manager tells",
            (_, _, true, false) => "running, as their manager tells, with every check green",
            (_, _, true, true) => "running, as their manager tells, with every other check green",
            (_, _, false, _) => "running, as their manager tells",
        };
        *claims.entry(("instance", claim)).or_insert(0) += 1;
    }
    for (node, (went_down, came_up)) in machines {
        let claim = match (went_down, came_up) {
            (_, true) if unheard.contains(node) => "on, as their power source tells",
            (true, true) => "restarted, heard with a new boot",
            (true, false) => "off, as their power source tells",
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

#[cfg(test)]
mod tests {
    use interlock_model::check::CheckId;
    use interlock_model::ids::Generation;
    use interlock_model::plan::PlanKind;
    use interlock_model::spec::Spec;
    use interlock_planner::{Input, Request, Scope, plan};

    use super::*;
    use crate::exit::Exit;
    use crate::follow::progress::{Clock, Past};

    fn id(check: &str) -> CheckId {
        let (service, check) = check.split_once('.').unwrap();
        CheckId {
            service: service.parse().unwrap(),
            check: check.parse().unwrap(),
        }
    }

    /// Its summary.
    fn ended(state: &str, force: &[&str]) -> String {
        summary(&progress(state, force), Paint::new(false))
    }

    /// A startup of `web` (with checks) and `log` (without), all of whose steps are done.
    fn progress(state: &str, force: &[&str]) -> Progress {
        let spec = "cluster: c
nodes: { n1: { address: 10.0.0.1 } }
services:
  web: { nodes: [n1], manager: { systemd: { unit: web.service } }, checks: { page: { tcp: 'x:80' }, sql: { tcp: 'x:81' } } }
  log: { nodes: [n1], manager: { systemd: { unit: log.service } } }
";
        let parsed = Spec::parse(spec.as_bytes(), "c.yaml").unwrap();
        let mut request = Request::new(PlanKind::Startup, Scope::All);
        request.force = force.iter().map(|check| id(check)).collect();
        let outcome = plan(&Input {
            spec: &parsed.spec,
            generation: Generation(1),
            request,
            observations: None,
            memory: &BTreeMap::new(),
            forgotten: &BTreeMap::new(),
            power_verified: None,
        });
        let sealed = outcome.plan.unwrap();
        let steps = sealed.plan().steps.iter().map(|step| v1::StepStatus {
            step: step.id.to_string(),
            state: "done".into(),
            ..Default::default()
        });
        let mut progress = Progress::new("op-7", Clock::default(), Past::default());
        progress.update(v1::Operation {
            summary: Some(v1::OperationSummary {
                operation: "op-7".into(),
                state: state.into(),
                ..Default::default()
            }),
            plan_json: String::from_utf8(sealed.bytes().to_vec()).unwrap(),
            steps: steps.collect(),
            ..Default::default()
        });
        progress
    }

    #[test]
    fn what_was_overridden_is_not_proven_and_its_exit_code_says_so() {
        assert_eq!(progress("done", &[]).ended(), Some(Exit::Ok));
        let overridden = progress("done", &["web.page"]);
        assert_eq!(overridden.ended(), Some(Exit::NotWell));
    }

    #[test]
    fn green_is_said_of_checks_that_there_are_and_that_were_asked() {
        let text = ended("done", &[]);
        for line in [
            "  proven 1 instance running, as their manager tells\n",
            "  proven 1 instance running, as their manager tells, with every check green\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        let text = ended("done", &["web.page"]);
        for line in [
            "  proven 1 instance running, as their manager tells, with every other check green\n",
            "  not proven web.page: overridden, and not waited for\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        let text = ended("done", &["web.page", "web.sql"]);
        assert!(
            text.contains("  proven 2 instances running, as their manager tells\n"),
            "{text}"
        );
    }

    #[test]
    fn what_needs_attention_claims_nothing_of_now() {
        let text = ended("needs-attention", &[]);
        assert!(
            text.contains("with every check green, when the steps were done\n"),
            "{text}"
        );
    }
}
