//! Machines that go down and come up.

use interlock_engine::coordinator::FromAgent;
use interlock_model::action::Command;
use interlock_model::ids::AttemptId;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::spec::Boot;

use super::{Event, Simulation};
use crate::fact::Fact;
use crate::world::{Cause, Fate, Os};

impl Simulation {
    /// A machine that goes down has stopped its services; its agent says goodbye, or gets no chance to.
    pub(super) fn halfway(&mut self, node: &NodeName, boots: u64, id: &AttemptId) {
        let machine = self.world.machine(node);
        if machine.boots != boots || machine.os != Os::GoingDown {
            return;
        }
        let Some(job) = machine.jobs.get(id).cloned() else {
            return;
        };
        if self.random.chance(50) {
            let sessions = self.network.open_of(Some(node));
            for session in sessions {
                self.send_up(session, FromAgent::Goodbye("the machine goes down".into()));
            }
        }
        for service in self.world.all_down(node) {
            let cause = Cause::Attempt(id.clone());
            self.tell_all(&Fact::Down {
                node,
                service: &service,
                cause: &cause,
            });
        }
        self.agent_dies(node, false);
        if job.fate == Fate::Hangs {
            self.say(|| format!("{node} hangs on its way down"));
            return;
        }
        let again = matches!(job.command, Command::Reboot);
        let takes = self.random.millis(200, 1500);
        self.schedule.after(
            takes,
            Event::PowersOff {
                node: node.clone(),
                boots,
                again,
            },
        );
    }

    pub(super) fn powers_off(&mut self, node: &NodeName, boots: u64, again: bool) {
        let machine = self.world.machine(node);
        if machine.boots != boots || machine.os != Os::GoingDown {
            return;
        }
        if again {
            self.world.boots_again(node);
            self.boots(node);
        } else {
            self.say(|| format!("{node} is off"));
            self.world.unplugged(node);
        }
    }

    /// A person goes to a machine that hangs and does what it was to do.
    pub(super) fn by_hand(&mut self, node: &NodeName, on: bool) {
        for service in self.world.all_down(node) {
            self.tell_all(&Fact::Down {
                node,
                service: &service,
                cause: &Cause::Hand,
            });
        }
        self.agent_dies(node, false);
        self.say(|| {
            format!(
                "a person switches {node} off{}",
                if on { " and on" } else { "" }
            )
        });
        self.world.unplugged(node);
        if on {
            self.switch_on(node);
        }
    }

    pub(super) fn switch_on(&mut self, node: &NodeName) {
        if self.world.plugged(node) {
            self.boots(node);
        }
    }

    fn boots(&mut self, node: &NodeName) {
        let boots = self.world.machine(node).boots;
        self.say(|| format!("{node} boots"));
        let takes = self.random.millis(1000, 3500);
        self.schedule.after(
            takes,
            Event::Booted {
                node: node.clone(),
                boots,
            },
        );
    }

    pub(super) fn booted(&mut self, node: &NodeName, boots: u64) {
        let machine = self.world.machine_mut(node);
        if machine.boots != boots || machine.os != Os::Booting {
            return;
        }
        machine.os = Os::Up;
        let autostart: Vec<ServiceName> = self
            .world
            .spec
            .services
            .values()
            .filter(|service| service.boot == Boot::Autostart && service.nodes.contains(node))
            .map(|service| service.name.clone())
            .collect();
        for service in autostart {
            let (now, warm) = (self.now(), self.random.millis(200, 2000));
            self.world.bring_up(node, &service, now, warm);
            self.may_die_young(node, &service);
        }
        let takes = self.random.millis(100, 800);
        self.schedule.after(
            takes,
            Event::AgentUp {
                node: node.clone(),
                boots,
            },
        );
    }
}
