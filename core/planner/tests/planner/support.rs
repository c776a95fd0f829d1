//! Specs and observations built in code, and ways to look at plans.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_model::action::{Part, Power, ShutdownBy};
use interlock_model::check::{Check, CheckFrom, CheckId, CheckKind, Threshold, Verdict};
use interlock_model::file::{Compared, Untold};
use interlock_model::ids::Generation;
use interlock_model::member::{Balancer, MemberObservation, MemberState, Membership, Then};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{
    CheckObservation, InstanceObservation, InstanceState, Liveness, NodeObservation, Observations,
    Wanted,
};
use interlock_model::permission::{Permission, Refusal};
use interlock_model::plan::{Plan, PlanKind, Wait};
use interlock_model::spec::{
    Activity, Boot, Control, Dependency, GuardPolicy, ManualGate, Node, NodePower, PowerDevice,
    Role, Sequence, Service, Spec,
};
use interlock_planner::{Change, Input, Outcome, Request, Scope, plan_with, render};

pub(crate) fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

/// `lb.vip`
pub(crate) fn check_id(text: &str) -> CheckId {
    let (service, check) = text.split_once('.').unwrap();
    CheckId {
        service: name(service),
        check: name(check),
    }
}

/// A spec under construction. A node `mgmt1`, outside of everything, runs the coordinator and asks the power source.
pub(crate) struct Cluster(pub(crate) Spec);

impl Cluster {
    pub(crate) fn new() -> Self {
        let device = PowerDevice {
            fence: "fence_virsh".into(),
            via: vec![name("mgmt1")],
            options: BTreeMap::new(),
            timeout: Duration::from_secs(20),
        };
        let spec = Spec {
            cluster: name("acd"),
            control: Control {
                coordinators: vec![name("mgmt1")],
                ..Control::default()
            },
            hosts: BTreeMap::new(),
            power: BTreeMap::from([(name("kvm"), device)]),
            nodes: BTreeMap::new(),
            services: BTreeMap::new(),
            gates: BTreeMap::new(),
        };
        Self(spec).bare_node("mgmt1")
    }

    /// A node without a power source.
    pub(crate) fn bare_node(mut self, node: &str) -> Self {
        let number = self.0.nodes.len() + 1;
        let value = Node {
            name: name(node),
            address: format!("10.0.{}.{}", number / 250, number % 250),
            networks: BTreeMap::new(),
            host: None,
            labels: BTreeMap::new(),
            agentless: None,
            power: None,
        };
        self.0.nodes.insert(name(node), value);
        self
    }

    pub(crate) fn node(self, node: &str) -> Self {
        let mut this = self.bare_node(node);
        this.edit_node(node).power = Some(NodePower {
            by: name("kvm"),
            plug: format!("VM-{node}"),
            alias: None,
            shutdown: ShutdownBy::Agent,
            off_within: Duration::from_secs(180),
            on_within: Duration::from_secs(240),
        });
        this
    }

    pub(crate) fn edit_node(&mut self, node: &str) -> &mut Node {
        self.0.nodes.get_mut(&name::<NodeName>(node)).unwrap()
    }

    pub(crate) fn with_node(mut self, node: &str, edit: impl FnOnce(&mut Node)) -> Self {
        edit(self.edit_node(node));
        self
    }

    /// A service on nodes, which are added where they are missing; every instance works.
    pub(crate) fn service(mut self, service: &str, nodes: &[&str]) -> Self {
        for node in nodes {
            if !self.0.nodes.contains_key(&name::<NodeName>(node)) {
                self = self.node(node);
            }
        }
        let value = Service {
            failover: None,
            primary_parts: Vec::new(),
            name: name(service),
            external: false,
            nodes: nodes.iter().map(|node| name(node)).collect(),
            active: Activity::All,
            active_when: Vec::new(),
            parts: vec![Part::Systemd {
                unit: format!("{service}.service"),
            }],
            dependencies: BTreeMap::new(),
            at_least: 1,
            boot: Boot::Manual,
            sequence: Sequence {
                start: Wait::None,
                stop: Wait::None,
            },
            checks: BTreeMap::new(),
            start_within: Duration::from_secs(60),
            stop_within: Duration::from_secs(90),
            guard: GuardPolicy {
                budget: 3,
                window: Duration::from_secs(600),
                backoff: Duration::from_secs(1),
            },
            balancer: None,
            member_of: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        self.0.services.insert(name(service), value);
        self
    }

    /// An exclusive service, recognised by its check `vip`.
    pub(crate) fn exclusive(self, service: &str, nodes: &[&str]) -> Self {
        self.service(service, nodes)
            .check(service, "vip", CheckFrom::Own)
            .with(service, |service| {
                service.active = Activity::One;
                service.active_when = vec![name("vip")];
                service.sequence = Sequence {
                    start: Wait::Up,
                    stop: Wait::Down,
                };
            })
    }

    pub(crate) fn with(mut self, service: &str, edit: impl FnOnce(&mut Service)) -> Self {
        edit(
            self.0
                .services
                .get_mut(&name::<ServiceName>(service))
                .unwrap(),
        );
        self
    }

    pub(crate) fn check(self, service: &str, check: &str, from: CheckFrom) -> Self {
        self.check_of(
            service,
            check,
            from,
            CheckKind::Tcp {
                target: "{address}:80".into(),
            },
        )
    }

    pub(crate) fn check_of(
        self,
        service: &str,
        check: &str,
        from: CheckFrom,
        kind: CheckKind,
    ) -> Self {
        let value = Check {
            kind,
            from,
            every: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            fail: Threshold::in_a_row(3),
            pass: Threshold::ONE,
            fresh: Duration::from_secs(20),
        };
        self.with(service, |service| {
            service.checks.insert(name(check), value);
        })
    }

    /// Makes `balancer` an HAProxy, and the instances of `service` members of it.
    pub(crate) fn member_of(self, service: &str, balancer: &str) -> Self {
        let membership = Membership {
            backends: vec![service.to_owned()],
            server: "{node}".into(),
            drain: Duration::from_secs(600),
            then: Then::Maint,
            every: Duration::from_secs(10),
            watch_only: false,
            checks: Vec::new(),
        };
        self.with(balancer, |balancer| {
            let socket = "/run/haproxy/admin.sock".into();
            balancer.balancer = Some(Balancer::Haproxy { socket });
        })
        .with(service, |service| {
            service.member_of.insert(name(balancer), membership);
        })
    }

    /// `service requires required`, until it is healthy at start and the dependant is down at stop.
    pub(crate) fn requires(self, service: &str, required: &[&str]) -> Self {
        required.iter().fold(self, |this, other| {
            this.edge(service, other, true, Wait::Healthy, Wait::Down)
        })
    }

    pub(crate) fn edge(
        self,
        service: &str,
        other: &str,
        needed: bool,
        start: Wait,
        stop: Wait,
    ) -> Self {
        self.with(service, |service| {
            service.dependencies.insert(
                name(other),
                Dependency {
                    needed,
                    start,
                    stop,
                },
            );
        })
    }

    pub(crate) fn gate(mut self, gate: &str, at_end_of: &[PlanKind]) -> Self {
        let value = ManualGate {
            text: "Call 100".into(),
            at_end_of: at_end_of.to_vec(),
            role: Role::Operator,
        };
        self.0.gates.insert(name(gate), value);
        self
    }

    /// Everything is on, alive, running and well; of an exclusive service the named node is active.
    pub(crate) fn all_up(&self, active: &[(&str, &str)]) -> Seen {
        let mut seen = Seen(Observations::default());
        for node in self.0.nodes.keys() {
            let value = NodeObservation {
                liveness: Liveness::Alive,
                power: Power::On,
                ..NodeObservation::default()
            };
            seen.0.nodes.insert(node.clone(), value);
        }
        for service in self.0.services.values() {
            for node in &service.nodes {
                seen.set(service.name.as_str(), node.as_str(), InstanceState::Running);
                for check in service.checks.keys() {
                    let standby = service.active_when.contains(check)
                        && !active.contains(&(service.name.as_str(), node.as_str()));
                    let verdict = if standby { Verdict::Bad } else { Verdict::Ok };
                    seen.verdict(&format!("{}.{check}", service.name), node.as_str(), verdict);
                }
            }
            for dependant in self
                .0
                .services
                .values()
                .filter(|d| d.dependencies.contains_key(&service.name))
            {
                for (check, _) in service
                    .checks
                    .iter()
                    .filter(|(_, check)| check.from == CheckFrom::Consumers)
                {
                    for node in &dependant.nodes {
                        seen.verdict(
                            &format!("{}.{check}", service.name),
                            node.as_str(),
                            Verdict::Ok,
                        );
                    }
                }
            }
        }
        for service in self.0.services.values() {
            for balancer in service.member_of.keys() {
                for on in &self.0.services[balancer].nodes {
                    for node in &service.nodes {
                        let member = (service.name.as_str(), node.as_str());
                        let place = (balancer.as_str(), on.as_str());
                        seen.member(member, place, MemberState::Ready);
                    }
                }
            }
        }
        seen
    }

    /// Everything that can be switched is off; the rest is on with everything stopped.
    pub(crate) fn all_down(&self) -> Seen {
        let mut seen = Seen(Observations::default());
        for node in self.0.nodes.values() {
            let (liveness, power) = if node.power.is_some() {
                (Liveness::Left, Power::Off)
            } else {
                (Liveness::Alive, Power::Unknown)
            };
            let value = NodeObservation {
                liveness,
                power,
                ..NodeObservation::default()
            };
            seen.0.nodes.insert(node.name.clone(), value);
        }
        for service in self.0.services.values() {
            for node in &service.nodes {
                seen.set(service.name.as_str(), node.as_str(), InstanceState::Stopped);
            }
        }
        seen
    }
}

/// Observations under construction.
#[derive(Clone)]
pub(crate) struct Seen(pub(crate) Observations);

impl Seen {
    pub(crate) fn node(&mut self, node: &str) -> &mut NodeObservation {
        self.0.nodes.get_mut(&name::<NodeName>(node)).unwrap()
    }

    pub(crate) fn set(&mut self, service: &str, node: &str, state: InstanceState) {
        let value = InstanceObservation {
            state,
            ..InstanceObservation::default()
        };
        self.node(node).instances.insert(name(service), value);
    }

    /// An instance is that in a load balancer on its node.
    pub(crate) fn member(
        &mut self,
        (service, node): (&str, &str),
        (balancer, on): (&str, &str),
        state: MemberState,
    ) {
        let value = MemberObservation {
            service: name(service),
            node: name(node),
            state,
            detail: "as the test says".into(),
            put_back: None,
        };
        let instances = &mut self.node(on).instances;
        let members = &mut instances
            .get_mut(&name::<ServiceName>(balancer))
            .unwrap()
            .members;
        members.retain(|it| it.service != value.service || it.node != value.node);
        members.push(value);
    }

    pub(crate) fn verdict(&mut self, check: &str, node: &str, verdict: Verdict) {
        let value = CheckObservation {
            verdict,
            evidence: "as the test says".into(),
            value: None,
            paused: false,
            age: Some(Duration::from_secs(1)),
        };
        self.node(node).checks.insert(check_id(check), value);
    }

    pub(crate) fn wanted(mut self, service: &str, node: &str, wanted: Wanted) -> Self {
        let instances = &mut self.node(node).instances;
        instances
            .get_mut(&name::<ServiceName>(service))
            .unwrap()
            .wanted = Some(wanted);
        self
    }

    pub(crate) fn lose(mut self, node: &str) -> Self {
        self.node(node).liveness = Liveness::Lost;
        self
    }

    /// The node's agent has said that it would refuse this.
    pub(crate) fn refusing(mut self, node: &str, permission: Permission) -> Self {
        let why = format!("to {permission}: set a line");
        self.node(node).refuses.push(Refusal { permission, why });
        self
    }

    pub(crate) fn state(mut self, service: &str, node: &str, state: InstanceState) -> Self {
        self.set(service, node, state);
        self
    }

    pub(crate) fn saying(mut self, check: &str, node: &str, verdict: Verdict) -> Self {
        self.verdict(check, node, verdict);
        self
    }
}

/// A request to be sent.
pub(crate) struct Ask<'a> {
    spec: &'a Spec,
    request: Request,
    seen: Option<&'a Observations>,
    memory: BTreeMap<ServiceName, NodeName>,
    forgotten: BTreeMap<ServiceName, String>,
    verified: Option<BTreeSet<NodeName>>,
    found: BTreeMap<NodeName, Result<Compared, Untold>>,
}

pub(crate) fn ask(cluster: &Cluster, kind: PlanKind, scope: Scope) -> Ask<'_> {
    Ask {
        spec: &cluster.0,
        request: Request::new(kind, scope),
        seen: None,
        memory: BTreeMap::new(),
        forgotten: BTreeMap::new(),
        verified: None,
        found: BTreeMap::new(),
    }
}

impl<'a> Ask<'a> {
    pub(crate) fn seeing(mut self, seen: &'a Seen) -> Self {
        self.seen = Some(&seen.0);
        self
    }
    pub(crate) fn assuming(mut self, service: &str, node: &str) -> Self {
        self.request.assume_active.insert(name(service), name(node));
        self
    }
    pub(crate) fn remembering(mut self, service: &str, node: &str) -> Self {
        self.memory.insert(name(service), name(node));
        self
    }
    /// Something was remembered, and is not any more.
    pub(crate) fn forgetting(mut self, service: &str, why: &str) -> Self {
        self.forgotten.insert(name(service), why.into());
        self
    }
    pub(crate) fn to(mut self, node: &str) -> Self {
        self.request.to = Some(name(node));
        self
    }
    pub(crate) fn attesting(mut self, nodes: &[&str]) -> Self {
        self.request.attested = nodes.iter().map(|node| name(node)).collect();
        self
    }
    pub(crate) fn accepting_loss(mut self) -> Self {
        self.request.accept_loss = true;
        self
    }
    pub(crate) fn failing_back(mut self) -> Self {
        self.request.failback = true;
        self
    }
    /// With the change of the only file of the service to this template.
    pub(crate) fn changing(mut self, template: &str) -> Self {
        self.request.change = Some(Change {
            file: None,
            template: template.to_owned(),
            even_if_unchanged: false,
        });
        self
    }
    /// Also where nothing changes.
    pub(crate) fn even_if_unchanged(mut self) -> Self {
        let change = self.request.change.as_mut().unwrap();
        change.even_if_unchanged = true;
        self
    }
    /// With what the agent of a node has found the file to be.
    pub(crate) fn finding(mut self, node: &str, found: Result<Compared, Untold>) -> Self {
        self.found.insert(name(node), found);
        self
    }
    pub(crate) fn forcing(mut self, check: &str) -> Self {
        self.request.force.insert(check_id(check));
        self
    }
    pub(crate) fn batch(mut self, size: u32) -> Self {
        self.request.batch = std::num::NonZeroU32::new(size);
        self
    }
    pub(crate) fn serial(mut self) -> Self {
        self.request.serial = true;
        self
    }
    pub(crate) fn verified(mut self, nodes: &[&str]) -> Self {
        self.verified = Some(nodes.iter().map(|node| name(node)).collect());
        self
    }

    pub(crate) fn outcome(self) -> Outcome {
        let rendering = render(self.spec, &self.request).with_found(self.found);
        let input = Input {
            spec: self.spec,
            generation: Generation(7),
            request: self.request,
            observations: self.seen,
            memory: &self.memory,
            forgotten: &self.forgotten,
            power_verified: self.verified.as_ref(),
        };
        plan_with(&input, &rendering)
    }

    /// The plan, which there must be.
    pub(crate) fn plan(self) -> Plan {
        let outcome = self.outcome();
        match outcome.plan {
            Some(sealed) => sealed.plan().clone(),
            None => panic!("refused:\n{}", outcome.report),
        }
    }

    /// The lines of the report of a refusal, which there must be.
    pub(crate) fn refusal(self) -> Vec<String> {
        let outcome = self.outcome();
        assert!(
            outcome.plan.is_none(),
            "should have been refused:\n{}",
            outcome.report
        );
        outcome.report.refusals().map(ToString::to_string).collect()
    }
}

pub(crate) fn services(names: &[&str]) -> Scope {
    Scope::Services(names.iter().map(|text| name(text)).collect())
}

pub(crate) fn nodes(names: &[&str]) -> Scope {
    Scope::Nodes(names.iter().map(|text| name(text)).collect())
}

/// The ids of the steps, in the plan's order.
pub(crate) fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

/// What a step waits for, as `power-off:dbm1 down`.
pub(crate) fn after(plan: &Plan, id: &str) -> Vec<String> {
    let step = plan.steps.iter().find(|step| step.id.as_str() == id);
    let step = step.unwrap_or_else(|| panic!("no step {id} in {:?}", ids(plan)));
    step.after
        .iter()
        .map(|after| format!("{} {}", after.step, after.until))
        .collect()
}

/// The checks that a step waits for before it begins, and before it is healthy, as `store.share@jb1`.
pub(crate) fn checks(plan: &Plan, id: &str) -> (Vec<String>, Vec<String>) {
    let step = plan
        .steps
        .iter()
        .find(|step| step.id.as_str() == id)
        .unwrap();
    let text = |gates: &[interlock_model::plan::Gate]| {
        gates
            .iter()
            .map(|gate| format!("{}@{}", gate.check, gate.on))
            .collect()
    };
    (text(&step.gates), text(&step.healthy))
}

/// Does every run start `later` only after `first` has reached `until`?
pub(crate) fn precedes(plan: &Plan, first: &str, until: Wait, later: &str) -> bool {
    let step = |id: &str| plan.steps.iter().find(|step| step.id.as_str() == id);
    let mut stack = vec![later];
    let mut seen = BTreeSet::new();
    while let Some(id) = stack.pop() {
        for after in step(id).into_iter().flat_map(|step| &step.after) {
            if after.step.as_str() == first && after.until >= until {
                return true;
            }
            if seen.insert(after.step.as_str()) {
                stack.push(after.step.as_str());
            }
        }
    }
    false
}

/// Large V2 of JTEL: two load balancers, two masters, two slaves, one store; lb2 and dbm2 are active.
pub(crate) fn large_v2() -> Cluster {
    let slaves_may_go_at_once = Wait::None;
    Cluster::new()
        .service("store", &["store1"])
        .check("store", "share", CheckFrom::Consumers)
        .exclusive("lb", &["lb1", "lb2"])
        .exclusive("dbm", &["dbm1", "dbm2"])
        .service("dbs", &["dbs2", "dbs1"])
        .with("dbs", |dbs| {
            dbs.sequence = Sequence {
                start: Wait::Up,
                stop: Wait::Issued,
            }
        })
        .service("jb", &["jb1", "jb2"])
        .check("jb", "http", CheckFrom::Own)
        .service("tel", &["tel1", "tel2"])
        .requires("lb", &["store"])
        .requires("dbm", &["lb"])
        .requires("dbs", &["dbm"])
        .requires("jb", &["store", "dbm"])
        .requires("tel", &["store", "dbm"])
        .edge("jb", "dbs", true, Wait::Healthy, slaves_may_go_at_once)
        .edge("tel", "dbs", true, Wait::Healthy, slaves_may_go_at_once)
        .gate("test-call", &[PlanKind::Startup])
}
