//! What the agent's own file would refuse of what its assignment may lead to.
//!
//! Judged by the same code as an attempt, and told with everything else that is seen, so that a plan which this agent
//! would refuse in the middle is not even shown. It binds nobody: an attempt is judged again when it comes.

use interlock_engine::agent::ledger::Permit;
use interlock_model::action::{Command, ShutdownBy};
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
    }
    if let Some(by) = assignment.shutdown {
        asked.push((Permission::Shutdown, Command::Shutdown { by }));
        // Plans reboot no machine that goes down by a command of its own.
        if by == ShutdownBy::Agent {
            asked.push((Permission::Reboot, Command::Reboot));
        }
    }
    for call in &assignment.fences {
        let request = call.clone();
        let permission = Permission::Fence(request.agent.clone());
        asked.push((permission, Command::Fence { request }));
    }
    let refused =
        asked
            .into_iter()
            .filter_map(|(permission, command)| match executor.permit(&command) {
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
    }

    #[test]
    fn a_reboot_is_missed_only_where_plans_could_ask_for_one() {
        let (shutdown, reboot) = (Permission::Shutdown, Permission::Reboot);
        for (by, missed) in [
            (Some(ShutdownBy::Agent), vec![shutdown.clone(), reboot]),
            (Some(ShutdownBy::Command), vec![shutdown]),
            (None, vec![]),
        ] {
            let assignment = Assignment {
                shutdown: by,
                ..Assignment::default()
            };
            let refusals = judge(&assignment, &Strict).into_iter();
            let permissions: Vec<Permission> = refusals.map(|it| it.permission).collect();
            assert_eq!(permissions, missed, "{by:?}");
        }
    }
}
