//! Files: a file changes only while its instance is stopped, to what the plan says, and only after the checkers of all
//! nodes have looked at what they will get.

use interlock_model::action::Action;
use interlock_model::names::{LocalName, NodeName, ServiceName};
use interlock_model::plan::{Digest, Plan, Wait};

use super::Violation;
use super::paths::Paths;

/// Whose file is made to say what.
type Place<'p> = (&'p ServiceName, &'p NodeName, &'p LocalName, &'p Digest);

pub(super) fn check(plan: &Plan, paths: &Paths<'_>, found: &mut Vec<Violation>) {
    let (mut trials, mut writes) = (Vec::<(usize, Place<'_>)>::new(), Vec::new());
    for (index, step) in plan.steps.iter().enumerate() {
        let (list, file, text) = match &step.action {
            Action::TryFile { file, text } => (&mut trials, file, text),
            Action::WriteFile { file, text } => (&mut writes, file, text),
            _ => continue,
        };
        if plan.texts.get(text).is_none_or(|it| it.digest() != *text) {
            found.push(Violation::WrongText {
                step: step.id.clone(),
            });
        }
        if let (Some(service), Some(node)) = (&step.service, &step.node) {
            list.push((index, (service, node, file, text)));
        }
    }
    for (write, (service, node, file, text)) in writes {
        let mut early = |step: usize, on: String, until: Wait, right: bool| {
            if !right {
                found.push(Violation::OutOfOrder {
                    step: paths.steps[step].id.clone(),
                    on: interlock_model::plan::StepId::new(&on),
                    until,
                });
            }
        };
        let stop = paths.stop(service, node, false);
        let stopped = stop.is_some_and(|stop| paths.awaits(write, stop, Wait::Down));
        early(write, format!("stop:{service}@{node}"), Wait::Down, stopped);
        let write_id = paths.steps[write].id.to_string();
        match paths.start(service, node) {
            Some(start) => early(
                start,
                write_id,
                Wait::Up,
                paths.awaits(start, write, Wait::Up),
            ),
            None => early(write, format!("start:{service}@{node}"), Wait::Up, false),
        }
        // Its own trial, and those of all others, before this instance is touched.
        let own = trials
            .iter()
            .any(|(_, it)| *it == (service, node, file, text));
        let of_all = trials
            .iter()
            .all(|(trial, _)| stop.is_some_and(|stop| paths.awaits(stop, *trial, Wait::Up)));
        early(
            write,
            format!("try-file:{service}@{node}"),
            Wait::Up,
            own && of_all,
        );
    }
}
