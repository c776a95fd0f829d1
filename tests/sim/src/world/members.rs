//! Load balancers: which of their members really take part, whatever anybody says of it.
//!
//! What a member was put to outlives its balancer, as it does where an agent looks after that.

use interlock_model::action::Command;
use interlock_model::member::{Member, MemberObservation, MemberState, Then};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::InstanceState;

use super::World;

impl World {
    /// Everybody takes part everywhere.
    pub(super) fn admit_all(&mut self) {
        let spec = std::sync::Arc::clone(&self.spec);
        for service in spec.services.values() {
            for balancer in service.member_of.keys() {
                let on = spec.services.get(balancer).map(|it| it.nodes.as_slice());
                for (on, node) in on
                    .unwrap_or_default()
                    .iter()
                    .flat_map(|on| service.nodes.iter().map(move |node| (on, node)))
                {
                    let key = (balancer.clone(), service.name.clone(), node.clone());
                    let machine = self.machine_mut(on);
                    machine.members.insert(key, MemberState::Ready);
                }
            }
        }
    }

    /// A balancer was told to let a member take part, or to leave it out.
    pub(super) fn told(&mut self, on: &NodeName, command: &Command) {
        let (balancer, member, state) = match command {
            Command::Drain {
                balancer,
                member,
                then,
                ..
            } => match then {
                Then::Drain => (balancer, member, MemberState::Drain),
                Then::Maint => (balancer, member, MemberState::Maint),
            },
            Command::Admit { balancer, member } => (balancer, member, MemberState::Ready),
            _ => return,
        };
        let Member { service, node, .. } = member;
        let key = (balancer.clone(), service.clone(), node.clone());
        self.machine_mut(on).members.insert(key, state);
    }

    /// Does the balancer on this node run, and send to a member?
    pub(crate) fn sends_to(&self, on: &NodeName, balancer: &ServiceName, member: &Member) -> bool {
        let key = (
            balancer.clone(),
            member.service.clone(),
            member.node.clone(),
        );
        let told = self.machine(on).members.get(&key);
        self.state(on, balancer) == InstanceState::Running && told == Some(&MemberState::Ready)
    }

    /// The members of the balancer on this node, as its agent sees them; none of one that does not run.
    pub(crate) fn members_of(
        &self,
        on: &NodeName,
        balancer: &ServiceName,
    ) -> Vec<MemberObservation> {
        let runs = self.state(on, balancer) == InstanceState::Running;
        let members = self.machine(on).members.iter();
        let members = members.filter(|((of, ..), _)| runs && of == balancer);
        members
            .map(|((_, service, node), told)| MemberObservation {
                service: service.clone(),
                node: node.clone(),
                state: match (told, self.state(node, service)) {
                    (MemberState::Ready, InstanceState::Running) => MemberState::Ready,
                    (MemberState::Ready, _) => MemberState::Down,
                    (told, _) => *told,
                },
                detail: String::new(),
                put_back: None,
            })
            .collect()
    }
}
