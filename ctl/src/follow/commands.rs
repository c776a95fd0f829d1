//! The exact commands to go on with, for people to copy.

use interlock_model::action::Action;

use super::progress::{Progress, needs_person};

/// How to confirm a step that waits for a person, if it does: the question, and the command.
pub(super) fn approval(progress: &Progress, step: &str) -> Option<(String, String)> {
    let status = progress.step(step)?;
    match &progress.planned(step)?.action {
        // Not what must not be done now: that waits for something else.
        Action::Approve { gate, text, role }
            if status.state == "gated" && status.waits_for.starts_with("approval of ") =>
        {
            Some((
                format!("{text} (role {role})"),
                format!(
                    "interlockctl approve {} {gate} --reason WHY",
                    progress.name()
                ),
            ))
        }
        Action::Approve { .. }
        | Action::Start
        | Action::Stop
        | Action::Verify
        | Action::Promote
        | Action::VerifyRole { .. }
        | Action::CatchUp
        | Action::PowerOn { .. }
        | Action::PowerOff { .. }
        | Action::Reboot
        | Action::Drain { .. }
        | Action::Admit { .. }
        | Action::TryFile { .. }
        | Action::WriteFile { .. }
        | Action::RestoreFile { .. }
        | Action::Check => None,
    }
}

/// What can be done about an operation that stands still, one command a line with what it does.
pub(super) fn to_go_on(progress: &Progress) -> Vec<(String, &'static str)> {
    let name = progress.name();
    let operation = progress.operation();
    let possible = |verb: &str| operation.possible.iter().any(|it| it == verb);
    let mut commands = Vec::new();
    let failed = operation.steps.iter().filter(|it| needs_person(&it.state));
    if possible("retry") && failed.count() > 1 {
        commands.push((
            format!("interlockctl operation retry {name} --all"),
            "try all of them again, once the cause is removed",
        ));
    }
    for step in operation.steps.iter().filter(|it| needs_person(&it.state)) {
        let step = &step.step;
        let planned = progress.planned(step).map(|planned| &planned.action);
        let gate = match planned {
            Some(Action::Approve { gate, .. }) => Some(gate),
            _ => None,
        };
        if let Some(gate) = gate.filter(|_| possible("approve")) {
            commands.push((
                format!("interlockctl approve {name} {gate} --reason WHY"),
                "confirm it now",
            ));
        }
        if possible("retry") {
            commands.push((
                format!("interlockctl operation retry {name} {step}"),
                match gate {
                    Some(_) => "wait for it once more",
                    None => "try it again, once the cause is removed",
                },
            ));
        }
        // Nobody takes an approval for given.
        if gate.is_none() && possible("skip") {
            commands.push((
                format!("interlockctl operation skip {name} {step} --reason WHY"),
                "take it for done, on your word",
            ));
        }
    }
    for (verb, command, does) in [
        ("resume", "resume", "go on"),
        ("abort", "abort", "stop for good"),
        (
            "unwind",
            "abort --unwind",
            "stop, and take back what was done",
        ),
    ] {
        if possible(verb) {
            let command = match command.split_once(' ') {
                Some((word, flag)) => format!("interlockctl operation {word} {name} {flag}"),
                None => format!("interlockctl operation {command} {name}"),
            };
            commands.push((command, does));
        }
    }
    commands
}
