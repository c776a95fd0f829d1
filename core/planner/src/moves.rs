//! Moves of roles: the steps that make one, what is looked at before, and who makes sure of it afterwards.
//!
//! ```text
//! promote:db@db2 ──healthy──► verify-role:db@db2
//! ```
//!
//! A promotion is proven by the lease record of a newer epoch and the word of the new primary. That the one before takes no
//! writes, and that clients reach the new one, is made sure of by a step of its own: whatever comes behind a move waits for
//! that.

use std::collections::BTreeSet;

use interlock_model::names::NodeName;
use interlock_model::observation::{Fitness, Liveness, Side};
use interlock_model::plan::Wait;
use interlock_model::spec::Service;

use crate::draft::Draft;
use crate::graph::Handle;
use crate::report::{Entry, PreVerdict, Subject};
use crate::steps;
use crate::world::Presence;

/// How many nodes outside of a service are named for trying its addresses: the first that is heard then does it.
const WITNESSES: usize = 5;

/// The steps of one move.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    /// The first, which moves the role.
    pub(crate) promote: Handle,
    /// The last, which makes sure of it.
    pub(crate) verify: Handle,
}

impl Draft<'_> {
    /// Moves the role of a service to a node whose instance runs as a standby.
    pub(crate) fn move_role(&mut self, service: &Service, to: &NodeName) -> Move {
        let healthy = self.own_checks(service, to, Some(to), &BTreeSet::new());
        let promote = self.promotion(service, to, None, healthy);
        let addresses: BTreeSet<String> = service.addresses().map(|it| it.ip.to_string()).collect();
        let from = self.witnesses(service);
        let (verdict, why) = match (addresses.is_empty(), from.first()) {
            (true, _) => (
                PreVerdict::Pass,
                "it has no address that another machine could try".to_owned(),
            ),
            (false, Some(first)) => (
                PreVerdict::Pass,
                format!("{first} tries its address after the move"),
            ),
            (false, None) => (
                PreVerdict::Fail,
                "no node outside of it is heard: nobody tries its address from elsewhere after the move"
                    .to_owned(),
            ),
        };
        self.pre_check(
            Subject::service(&service.name),
            "third-machine",
            verdict,
            why,
        );
        let verify = steps::verify_role(service, to, addresses, from);
        let verify = self.graph.add_beside(verify, promote);
        self.graph.after(verify, promote, Wait::Healthy);
        Move { promote, verify }
    }

    /// Nodes that are no members of a service and are heard: first those that stay, then those that require it.
    fn witnesses(&self, service: &Service) -> Vec<NodeName> {
        let requires = |node: &NodeName| {
            self.spec.services.values().any(|other| {
                let edge = other.dependencies.get(&service.name);
                edge.is_some_and(|edge| edge.needed) && other.nodes.contains(node)
            })
        };
        let nodes = self.spec.nodes.values().filter(|node| {
            node.agentless.is_none()
                && !service.nodes.contains(&node.name)
                && self.world.agent_is_heard(&node.name)
        });
        let mut nodes: Vec<_> = nodes.collect();
        nodes.sort_by_key(|node| {
            let goes = self.request.scope.switches(node);
            (goes, !requires(&node.name))
        });
        let names = nodes.into_iter().map(|node| node.name.clone());
        names.take(WITNESSES).collect()
    }

    /// Lists something that was looked at before a move.
    pub(crate) fn pre_check(
        &mut self,
        subject: Subject,
        check: &str,
        verdict: PreVerdict,
        why: impl Into<String>,
    ) {
        self.report.add(Entry::PreCheck {
            subject,
            check: check.to_owned(),
            verdict,
            why: why.into(),
        });
    }

    /// Why a standby could not take the role now, as far as its agent says. What was looked at is listed.
    pub(crate) fn unfit(&mut self, service: &Service, node: &NodeName) -> Option<String> {
        let why = self.not_a_standby(service, node);
        let (verdict, text) = match &why {
            None => (
                PreVerdict::Pass,
                "it runs as a standby, and its agent is heard".to_owned(),
            ),
            Some(why) => (PreVerdict::Fail, why.clone()),
        };
        self.pre_check(
            Subject::instance(&service.name, node),
            "standby",
            verdict,
            text,
        );
        why
    }

    fn not_a_standby(&self, service: &Service, node: &NodeName) -> Option<String> {
        match self.world.instance(&service.name, node) {
            Presence::Up => {}
            Presence::Down => return Some("it is down".to_owned()),
            Presence::Unknown(why) => return Some(why),
        }
        match self.world.liveness(node) {
            None | Some(Liveness::Alive) => {}
            Some(liveness) => return Some(format!("its agent is {liveness}")),
        }
        match self.world.side(&service.name, node) {
            Side::Standby => None,
            side => Some(format!("its side is {side}")),
        }
    }

    /// Why a standby lacks something of what its primary has, as the leader of the lease says. Where `waits` the move itself
    /// waits for it, and nothing is refused.
    pub(crate) fn lacks(
        &mut self,
        service: &Service,
        node: &NodeName,
        waits: bool,
    ) -> Option<String> {
        let (verdict, why) = match self.world.fitness(&service.name, node) {
            Fitness::Fit => (PreVerdict::Pass, None),
            Fitness::Unfit(why) | Fitness::Lacks(_, why) => (PreVerdict::Fail, Some(why)),
            Fitness::Unknown => (
                PreVerdict::Unknown,
                Some("the leader of its lease has not said".to_owned()),
            ),
        };
        let text = match &why {
            None => "it has what its primary has, as far as its spec asks for".to_owned(),
            Some(why) if waits => format!("{why}; the move waits until it has"),
            Some(why) => why.clone(),
        };
        let subject = Subject::instance(&service.name, node);
        self.pre_check(subject, "caught-up", verdict, text);
        why
    }

    /// May a person's failover go to this standby? What it lacks is lost, so that is told, and refused unless it is accepted. As
    /// long as the leader of the lease does not speak of a loss, the move itself waits for what it needs.
    pub(crate) fn may_lose(&mut self, service: &Service, to: &NodeName) -> bool {
        let subject = || Subject::instance(&service.name, to);
        let accepts = self.request.accept_loss;
        let (lost, why) = match self.world.fitness(&service.name, to) {
            Fitness::Lacks(lost, why) => (lost, why),
            Fitness::Unknown if accepts => {
                let by = "the leader of its lease has not said what it lacks";
                let remedy = "plan again in a moment: what is not known cannot be accepted";
                self.report.blocked(subject(), by, remedy);
                return false;
            }
            // The move would wait for what nobody knows to come.
            Fitness::Unfit(why) if accepts => {
                let remedy = "repair that first: it is no loss that could be accepted";
                self.report.blocked(subject(), why, remedy);
                return false;
            }
            Fitness::Fit | Fitness::Unfit(_) | Fitness::Unknown => return true,
        };
        let told = service.told_loss(lost);
        self.pre_check(subject(), "caught-up", PreVerdict::Fail, why.clone());
        if accepts {
            let text = format!("writes are lost, as you accept: {told} ({why})");
            self.report.warn(subject(), text);
            self.accepted.insert(service.name.clone(), lost);
            return true;
        }
        self.report.blocked(
            subject(),
            format!("writes would be lost: {told} ({why})"),
            "bring back a node that has them; or accept the loss with --accept-loss",
        );
        false
    }

    /// Says from which step on a plan that is given up and taken back leaves roles where they are.
    pub(crate) fn tell_no_return(&mut self, first: Handle) {
        let step = self.graph.step(first).id.clone();
        self.report.add(Entry::NoReturn { step });
    }
}
