//! A file changes only while its instance is down, and says in the end what the plan said, or what it said before.
//!
//! No file is written, or put back, under an instance that is up. When an operation says that it is done, each file that it was
//! to write says what the plan has for it, and who runs has read that. When it has taken all of it back, each says what it
//! said before. What a person has taken for done may be otherwise.

use std::collections::BTreeMap;

use interlock_engine::operation::{Entry, State, What};
use interlock_model::action::{Action, Command};
use interlock_model::file::FileWork;
use interlock_model::ids::{AttemptId, OperationId};
use interlock_model::names::{LocalName, NodeName, ServiceName};
use interlock_model::observation::InstanceState;
use interlock_model::plan::{Digest, Plan};

use super::decided::{Decided, entries};
use super::{Invariant, Number};
use crate::fact::{Fact, Sight};

type Place = (NodeName, ServiceName, LocalName);

/// What was decided when, and what files said before each operation.
#[derive(Debug, Default)]
pub(crate) struct Files {
    decided: Decided,
    before: BTreeMap<(OperationId, Place), Option<Digest>>,
}

impl Invariant for Files {
    fn number(&self) -> Number {
        Number::Files
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Stored(writes) => entries(writes).iter().try_for_each(|(id, entry)| {
                self.decided.note(*id, entry, sight.now);
                self.is_taken_back(*id, entry, sight)
            }),
            Fact::Began {
                node,
                id,
                command:
                    Command::File {
                        service,
                        file,
                        work: FileWork::Write(_) | FileWork::Restore,
                    },
                ..
            } => self.changes(id, (node, service, file), sight),
            Fact::Done(plan) if self.decided.nothing_is_skipped() => is_written(plan, sight),
            _ => Ok(()),
        }
    }
}

impl Files {
    fn changes(
        &mut self,
        id: &AttemptId,
        (node, service, file): (&NodeName, &ServiceName, &LocalName),
        sight: &Sight<'_>,
    ) -> Result<(), String> {
        let place = (node.clone(), service.clone(), file.clone());
        let before = self.before.entry((id.operation, place));
        before.or_insert_with(|| sight.world.file(node, service, file).text);
        let instance = sight.world.machine(node).instances.get(service);
        let up = instance.filter(|it| it.state == InstanceState::Running);
        if self.decided.has_skipped(id.operation) {
            return Ok(());
        }
        match up.filter(|it| self.decided.was_known(it, id)) {
            Some(_) => Err(format!("{id} begins while {service} runs on {node}")),
            None => Ok(()),
        }
    }

    fn is_taken_back(
        &self,
        id: OperationId,
        entry: &Entry,
        sight: &Sight<'_>,
    ) -> Result<(), String> {
        let unwound = matches!(
            &entry.what,
            What::Turned {
                to: State::Unwound,
                ..
            }
        );
        if !unwound || self.decided.has_skipped(id) {
            return Ok(());
        }
        let of_it = self.before.iter().filter(|((of, _), _)| *of == id);
        for ((_, (node, service, file)), before) in of_it {
            if sight.world.file(node, service, file).text != *before {
                return Err(format!(
                    "{id} is taken back, and {file} of {service} on {node} is not as it was"
                ));
            }
        }
        Ok(())
    }
}

/// Does every file say what the plan has for it, and has who runs read that?
fn is_written(plan: &Plan, sight: &Sight<'_>) -> Result<(), String> {
    for step in &plan.steps {
        let (Action::WriteFile { file, text }, Some(service), Some(node)) =
            (&step.action, &step.service, &step.node)
        else {
            continue;
        };
        let on_disk = sight.world.file(node, service, file);
        let runs = sight.world.works(node, service, sight.now);
        if on_disk.text != Some(*text) || runs && on_disk.read != Some(*text) {
            return Err(format!(
                "the operation is done, and {file} of {service} on {node} was not written, or is not what runs"
            ));
        }
    }
    Ok(())
}
