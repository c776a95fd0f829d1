//! What the agent's own file would refuse of what its assignment may lead to.
//!
//! Judged by the same code as an attempt, and told with everything else that is seen, so that a plan which this agent
//! would refuse in the middle is not even shown. It binds nobody: an attempt is judged again when it comes.

use interlock_engine::agent::ledger::Permit;
use interlock_model::action::Command;
use interlock_model::file::FileWork;
use interlock_model::permission::{Permission, Refusal};

use super::{Assignment, Executor};

/// The refusals, in the order of the assignment.
pub(super) fn judge(assignment: &Assignment, executor: &impl Executor) -> Vec<Refusal> {
    let mut asked = Vec::new();
    for (service, instance) in &assignment.instances {
        let start = Command::Start {
            service: service.clone(),
            // What a primary has is started here as well, by who keeps its role.
            parts: [instance.parts.as_slice(), &instance.primary_parts].concat(),
        };
        asked.push((Permission::Operate(service.clone()), start));
        for held in &instance.members {
            let permission = Permission::Member {
                balancer: service.clone(),
                service: held.member.service.clone(),
                node: held.member.node.clone(),
            };
            let admit = Command::Admit {
                balancer: service.clone(),
                member: held.member.clone(),
            };
            asked.push((permission, admit));
        }
        for file in &instance.files {
            let permission = Permission::File {
                service: service.clone(),
                file: file.clone(),
            };
            let command = Command::File {
                service: service.clone(),
                file: file.clone(),
                // Which secrets a text will name is not known before there is one; it is tried before anything is touched.
                work: FileWork::Restore,
            };
            asked.push((permission, command));
        }
    }
    if let Some(by) = assignment.shutdown {
        asked.push((Permission::Shutdown, Command::Shutdown { by }));
    }
    if assignment.reboot {
        asked.push((Permission::Reboot, Command::Reboot));
    }
    for call in &assignment.fences {
        let request = call.clone();
        let permission = Permission::Fence(request.agent.clone());
        asked.push((permission, Command::Fence { request }));
    }
    let commands = asked
        .into_iter()
        .map(|(permission, command)| (permission, executor.permit(&command)));
    let checks = assignment.checks.iter();
    let checks = checks.map(|(id, check)| {
        let permission = Permission::Check(id.clone());
        (permission, executor.permit_check(&check.kind))
    });
    let refused = commands.chain(checks);
    let refused = refused.filter_map(|(permission, permit)| match permit {
        Permit::Granted => None,
        Permit::Denied(why) => Some(Refusal { permission, why }),
    });
    let mut refusals: Vec<Refusal> = refused.collect();
    // Two devices may have one fence agent.
    refusals.dedup();
    refusals
}

#[cfg(test)]
mod tests {
    use interlock_engine::agent::ledger::Outcome;
    use interlock_model::check::CheckKind;
    use interlock_proto::v1;

    use super::*;
    use crate::session::Attempt;

    /// The executor of an agent whose file permits nothing.
    struct Strict;

    impl Executor for Strict {
        async fn execute(&self, attempt: Attempt) -> Outcome {
            Outcome::Failed {
                evidence: attempt.id.to_string(),
            }
        }

        fn permit(&self, _: &Command) -> Permit {
            Permit::Denied("it is not in the file".to_owned())
        }

        fn permit_check(&self, _: &CheckKind) -> Permit {
            Permit::Denied("it is not in the file".to_owned())
        }
    }

    fn missed(wire: &v1::Assignment) -> Vec<String> {
        let refusals = judge(&Assignment::from_wire(wire).unwrap(), &Strict);
        let permissions = refusals.into_iter();
        permissions.map(|it| it.permission.to_string()).collect()
    }

    #[test]
    fn a_reboot_is_missed_only_where_plans_could_ask_for_one() {
        let (shutdown, reboot) = ("shut the machine down", "restart the machine");
        let by = |by_command| Some(v1::Shutdown { by_command });
        for (by, told, wanted) in [
            (by(false), Some(true), vec![shutdown, reboot]),
            (by(true), Some(false), vec![shutdown]),
            // Without a power source.
            (None, Some(true), vec![reboot]),
            (None, Some(false), vec![]),
            // A coordinator that does not say.
            (by(false), None, vec![shutdown, reboot]),
            (by(true), None, vec![shutdown]),
            (None, None, vec![]),
        ] {
            let wire = v1::Assignment {
                shutdown: by,
                reboot: told,
                ..v1::Assignment::default()
            };
            assert_eq!(missed(&wire), wanted, "{by:?} {told:?}");
        }
    }

    #[test]
    fn files_that_a_restart_may_write_and_checks_that_gates_may_ask_are_judged_too() {
        let wire = v1::Assignment {
            instances: vec![v1::AssignedInstance {
                service: "web".into(),
                files: vec!["config".into()],
                ..v1::AssignedInstance::default()
            }],
            checks: vec![v1::AssignedCheck {
                service: "web".into(),
                check: "ready".into(),
                every_ms: 1000,
                timeout_ms: 500,
                kind: Some(v1::assigned_check::Kind::Exec("ready".into())),
                ..v1::AssignedCheck::default()
            }],
            ..v1::Assignment::default()
        };
        let wanted = [
            "start and stop web",
            "write the file config of web",
            "run the check web.ready",
        ];
        assert_eq!(missed(&wire), wanted);
    }
}
