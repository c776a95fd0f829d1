//! A bench for one operation: a small cluster, plans made by hand, time as a value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{Proof, Strays, Verified};
use interlock_engine::operation::{
    Ctx, Effect, Entry, Operation, Phase, Refused, State, Verb, What,
};
use interlock_engine::view::{SeenCheck, View};
use interlock_model::action::{Action, Power, PowerRef, ShutdownBy};
use interlock_model::attempt::{AttemptReport, AttemptState};
use interlock_model::check::{CheckId, Verdict};
use interlock_model::file::{Piece, Text};
use interlock_model::ids::{AttemptId, AttemptNo, BootId, Generation, OperationId, Term};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{InstanceObservation, InstanceState};
use interlock_model::plan::{
    After, Assumption, Gate, Known, Plan, PlanKind, SealedPlan, Step, StepId, Undo, Wait,
};
use interlock_model::spec::{Role, Spec};
use interlock_model::time::{Now, Timestamp};

const SPEC: &str = r#"
cluster: bench
control: { coordinators: [mgmt] }
power: { box: { fence: fence_sim, via: [mgmt] } }
nodes:
  mgmt: { address: 10.0.0.1 }
  a: { address: 10.0.0.2, power: { by: box, plug: pa, on_within: 1m, off_within: 1m } }
  b: { address: 10.0.0.3, power: { by: box, plug: pb, on_within: 1m, off_within: 1m } }
  tel: { address: 10.0.0.8, agentless: { probes_from: [mgmt] } }
  fax: { address: 10.0.0.9, agentless: { probes_from: [a] } }
services:
  pbx:
    nodes: [tel, fax]
    active: all
    at_least: 1
    checks:
      sip: { tcp: "{address}:3" }
  db:
    nodes: [a, b]
    timeouts: { start: 1m, stop: 1m }
    active: one
    active_when: [leads]
    manager: { systemd: { unit: db.service } }
    checks:
      port: { tcp: "{address}:1" }
      leads: { exec: leads }
  web:
    nodes: [b]
    timeouts: { start: 1m, stop: 1m }
    manager: { systemd: { unit: web.service } }
    requires: [db]
    checks:
      http: { http: "http://{address}/health" }
  log:
    nodes: [b]
    timeouts: { start: 1m, stop: 1m }
    manager: { systemd: { unit: log.service } }
    after: { db: { start: healthy } }
  app:
    nodes: [mgmt, b]
    timeouts: { start: 1m, stop: 1m }
    active: all
    at_least: 1
    manager: { systemd: { unit: app.service } }
    checks:
      port: { tcp: "{address}:2" }
      way: { tcp: "app.example:2", from: consumers }
  front:
    nodes: [b]
    timeouts: { start: 1m, stop: 1m }
    manager: { systemd: { unit: front.service } }
    requires: [app]
  lb:
    nodes: [mgmt]
    timeouts: { start: 1m, stop: 1m }
    manager: { systemd: { unit: haproxy.service } }
    balancer: { haproxy: { socket: /run/h.sock } }
  page:
    nodes: [mgmt, b]
    timeouts: { start: 1m, stop: 1m }
    active: all
    at_least: 1
    manager: { systemd: { unit: page.service } }
    member_of: { lb: { backend: page } }
  team:
    nodes: [mgmt, a, b]
    timeouts: { start: 1m, stop: 1m }
    active: all
    at_least: 2
    manager: { systemd: { unit: team.service } }
    checks:
      port: { tcp: "{address}:4" }
      config: { same: /etc/team.json }
  user:
    nodes: [mgmt]
    timeouts: { start: 1m, stop: 1m }
    manager: { systemd: { unit: user.service } }
    requires: [team]
gates:
  look: { manual: "Look at it", at_end_of: [startup], role: admin }
"#;

/// The time limit of every step on the bench.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn spec() -> Spec {
    Spec::parse(SPEC.as_bytes(), "bench.yaml").unwrap().spec
}

/// The text that is written.
pub(crate) fn text() -> Text {
    Text {
        pieces: vec![Piece::Plain("level = info\n".into())],
    }
}

/// A step such as `stop:db@a`, `power-off:a`, `check:x`, after others until a condition.
pub(crate) fn step(id: &str, after: &[(&str, Wait)]) -> Step {
    let (word, what) = id.split_once(':').unwrap();
    let (service, node) = match what.split_once('@') {
        Some((service, node)) => (Some(service), Some(node)),
        None => (
            None,
            Some(what).filter(|_| word != "check" && word != "approve"),
        ),
    };
    let power = PowerRef {
        device: "box".parse().unwrap(),
        plug: format!("p{}", node.unwrap_or_default()),
        via: vec!["mgmt".parse().unwrap()],
        shutdown: ShutdownBy::Agent,
    };
    let (action, undo) = match word {
        "start" => (Action::Start, Some(Action::Stop)),
        "stop" => (Action::Stop, Some(Action::Start)),
        "power-off" => (
            Action::PowerOff {
                power: power.clone(),
            },
            Some(Action::PowerOn { power }),
        ),
        "power-on" => (
            Action::PowerOn {
                power: power.clone(),
            },
            Some(Action::PowerOff { power }),
        ),
        "verify" => (Action::Verify, Some(Action::Stop)),
        "reboot" => (Action::Reboot, None),
        "write-file" => (
            Action::WriteFile {
                file: "app".parse().unwrap(),
                text: text().digest(),
            },
            Some(Action::RestoreFile {
                file: "app".parse().unwrap(),
            }),
        ),
        "check" => (Action::Check, None),
        _ => {
            let gate = what.parse().unwrap();
            (
                Action::Approve {
                    gate,
                    text: "Look at it".into(),
                    role: Role::Admin,
                },
                None,
            )
        }
    };
    Step {
        id: StepId::new(id),
        action,
        node: node.map(|node| node.parse().unwrap()),
        service: service.map(|service| service.parse().unwrap()),
        after: after
            .iter()
            .map(|(step, until)| After {
                step: StepId::new(step),
                until: *until,
            })
            .collect(),
        gates: Vec::new(),
        healthy: Vec::new(),
        timeout: LIMIT,
        undo: undo.map(|action| Undo(Box::new(action))),
    }
}

/// The check `SERVICE.CHECK` on a node.
pub(crate) fn gate(check: &str, on: &str) -> Gate {
    let (service, name) = check.split_once('.').unwrap();
    Gate {
        check: CheckId {
            service: service.parse().unwrap(),
            check: name.parse().unwrap(),
        },
        on: on.parse().unwrap(),
    }
}

pub(crate) fn seal(steps: Vec<Step>) -> Plan {
    Plan {
        cluster: "bench".parse().unwrap(),
        generation: Generation(1),
        kind: PlanKind::Shutdown,
        scope: "--all".into(),
        assumptions: std::collections::BTreeMap::new(),
        accepted: BTreeMap::new(),
        forced: Vec::new(),
        keeps: std::collections::BTreeSet::new(),
        texts: BTreeMap::from([(text().digest(), text())]),
        steps,
    }
}

/// A plug that was matched with its node.
pub(crate) fn plug(node: &str) -> (NodeName, Verified) {
    let verified = Verified {
        device: "box".into(),
        plug: format!("p{node}"),
        depends_on: None,
        machine_uuid: String::new(),
        proof: Proof::Alias,
        how: "said".into(),
        by: "anna".into(),
        at: Timestamp(0),
    };
    (node.parse().unwrap(), verified)
}

/// One operation and everything that it looks at.
pub(crate) struct Bench {
    pub(crate) operation: Operation,
    pub(crate) view: View,
    pub(crate) effects: Vec<Effect>,
    pub(crate) journal: Vec<Entry>,
    pub(crate) plan: Arc<SealedPlan>,
    /// The plugs that are proven to be their nodes'.
    pub(crate) verified: BTreeMap<NodeName, Verified>,
    /// What may run, and the spec has no more.
    pub(crate) strays: Strays,
    pub(crate) spec: Spec,
    seconds: u64,
    /// How far the wall clock has jumped ahead.
    jumped: u64,
}

impl Bench {
    /// A started operation on a cluster whose agents are all there. What requires something else is down.
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Self::of(seal(steps), false)
    }

    pub(crate) fn of(plan: Plan, single_step: bool) -> Self {
        let plan = Arc::new(SealedPlan::seal(plan).unwrap());
        let now = Now {
            mono: Duration::from_secs(1000),
            wall: Timestamp(1_000_000),
        };
        let operation = Operation::start(
            OperationId(1),
            Arc::clone(&plan),
            "anna",
            "why not",
            single_step,
            now,
        );
        let mut bench = Self {
            operation: operation.unwrap(),
            view: View::default(),
            effects: Vec::new(),
            journal: Vec::new(),
            plan,
            verified: [plug("a"), plug("b")].into(),
            strays: Strays::default(),
            spec: spec(),
            seconds: 0,
            jumped: 0,
        };
        for node in ["mgmt", "a", "b"] {
            bench.connects(node, "boot-1");
        }
        // Long before the operation; what it has no step for on a machine that goes was down then.
        let told = [("web", "b"), ("front", "b"), ("user", "mgmt")];
        let told = told.map(|(service, node)| (service.parse().unwrap(), node.parse().unwrap()));
        let steps = &bench.plan.plan().steps;
        let goes = |node: &NodeName| {
            let mut steps = steps.iter().filter(|step| step.node.as_ref() == Some(node));
            steps.any(|step| step.action.is_power())
        };
        let is_in_plan = |service: &ServiceName, node: &NodeName| {
            let at = (Some(service), Some(node));
            let mut steps = steps.iter();
            steps.any(|step| (step.service.as_ref(), step.node.as_ref()) == at)
        };
        let all = bench.spec.services.values();
        let all = all.flat_map(|it| it.nodes.iter().map(|node| (it.name.clone(), node.clone())));
        let down = all.filter(|(service, node)| goes(node) && !is_in_plan(service, node));
        for (service, node) in told.into_iter().chain(down).collect::<Vec<_>>() {
            let seen = InstanceObservation {
                state: InstanceState::Stopped,
                ..InstanceObservation::default()
            };
            bench.view.entry(&node).tell(service, seen, Now::default());
        }
        bench
    }

    /// The same on another cluster.
    pub(crate) fn on(mut self, spec: Spec) -> Self {
        self.spec = spec;
        self
    }

    /// With the active side of db observed on a node.
    pub(crate) fn observed(plan: Plan, active: &str) -> Self {
        Self::taken(plan, active, Known::Observed)
    }

    /// With the active side of db taken to be on a node.
    pub(crate) fn taken(mut plan: Plan, active: &str, known: Known) -> Self {
        let assumption = Assumption {
            active: active.parse().unwrap(),
            known,
        };
        plan.assumptions.insert("db".parse().unwrap(), assumption);
        Self::of(plan, false)
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            mono: Duration::from_secs(1000 + self.seconds),
            wall: Timestamp(1_000_000 + (self.seconds + self.jumped) * 1000),
        }
    }

    /// Seconds pass; the agents are heard all the time.
    pub(crate) fn pass(&mut self, seconds: u64) -> &mut Self {
        self.seconds += seconds;
        self.advance()
    }

    pub(crate) fn connects(&mut self, node: &str, boot: &str) {
        let (node, now): (NodeName, Now) = (node.parse().unwrap(), self.now());
        self.view.heard(&node, now);
        self.view.opened(&node, now);
        let seen = self.view.entry(&node);
        seen.boot = Some(BootId(boot.into()));
        seen.power = None;
    }

    /// The coordinator was killed before it could write how the operation ended, and is started: nobody is heard yet.
    pub(crate) fn restarts_before_its_last_turn(&mut self) {
        let ended = |entry: &Entry| matches!(&entry.what, What::Turned { to, .. } if to.is_over());
        self.journal.retain(|entry| !ended(entry));
        self.restarts();
    }

    pub(crate) fn clock_jumps(&mut self, ahead: Duration) {
        self.jumped += ahead.as_secs();
    }

    /// The coordinator was killed, and is started: it knows its journal, and nobody is heard yet.
    pub(crate) fn restarts(&mut self) {
        let entries = self.journal.clone();
        let replayed = Operation::replay(OperationId(1), Arc::clone(&self.plan), entries);
        self.operation = replayed.unwrap();
        self.view = View::default();
        self.effects.clear();
    }

    pub(crate) fn goes_silent(&mut self, node: &str) {
        self.view.closed(&node.parse().unwrap());
    }

    /// The spec has a service no more.
    pub(crate) fn loses_service(&mut self, service: &str) {
        let name: ServiceName = service.parse().unwrap();
        assert!(self.spec.services.remove(&name).is_some());
    }

    /// A probe that ran just now, after it was asked for.
    pub(crate) fn probed(&mut self, check: &str, on: &str, verdict: Verdict) -> &mut Self {
        let now = self.now().mono;
        self.answered(check, on, verdict, now)
    }

    /// A result that arrives now, of a probe that has followed a question of `after`.
    pub(crate) fn answered(
        &mut self,
        check: &str,
        on: &str,
        verdict: Verdict,
        after: Duration,
    ) -> &mut Self {
        let (gate, at) = (gate(check, on), self.now().mono);
        let seen = SeenCheck {
            verdict,
            evidence: "seen".into(),
            value: None,
            paused: false,
            at,
            after,
        };
        self.view.entry(&gate.on).checks.insert(gate.check, seen);
        self
    }

    pub(crate) fn instance(&mut self, service: &str, on: &str, state: InstanceState) {
        // Who has looked and cannot tell says why.
        let reason = match state {
            InstanceState::Unknown => "its agent cannot tell".to_owned(),
            _ => String::new(),
        };
        let seen = InstanceObservation {
            state,
            reason,
            ..InstanceObservation::default()
        };
        self.tells(service, on, seen);
    }

    /// An instance of db runs, and leads.
    pub(crate) fn leads(&mut self, on: &str) {
        self.instance("db", on, InstanceState::Running);
        for node in ["a", "b"] {
            let verdict = match node == on {
                true => Verdict::Ok,
                false => Verdict::Bad,
            };
            self.probed("db.leads", node, verdict);
        }
    }

    /// An agent says how an instance is.
    pub(crate) fn tells(&mut self, service: &str, on: &str, seen: InstanceObservation) {
        let now = self.now();
        self.view.heard(&on.parse().unwrap(), now);
        let node = self.view.entry(&on.parse().unwrap());
        node.tell(service.parse().unwrap(), seen, now);
    }

    pub(crate) fn power(&mut self, node: &str, power: Power) -> &mut Self {
        let now = self.now();
        self.view
            .powered(&node.parse().unwrap(), power, "status", now);
        self
    }

    fn with<T>(&mut self, run: impl FnOnce(&mut Operation, &mut Ctx<'_>) -> T) -> T {
        let mut ctx = Ctx {
            now: self.now(),
            term: Term(3),
            spec: &self.spec,
            view: &self.view,
            verified: &self.verified,
            strays: &self.strays,
            effects: &mut self.effects,
        };
        let result = run(&mut self.operation, &mut ctx);
        self.journal.extend(self.operation.take_entries());
        result
    }

    pub(crate) fn advance(&mut self) -> &mut Self {
        self.with(|operation, ctx| operation.advance(ctx));
        self
    }

    /// The agent that has the step's current attempt says how far it is; then the operation goes on.
    pub(crate) fn says(&mut self, step: &str, state: AttemptState) -> &mut Self {
        self.says_of(step, self.attempt(step), state, false)
    }

    pub(crate) fn says_of(
        &mut self,
        step: &str,
        attempt: u64,
        state: AttemptState,
        repeatable: bool,
    ) -> &mut Self {
        self.reports(step, attempt, state, repeatable);
        self.advance()
    }

    /// The same, before the operation goes on. What is done is so, as its agent sees it.
    pub(crate) fn reports(
        &mut self,
        step: &str,
        attempt: u64,
        state: AttemptState,
        repeatable: bool,
    ) {
        let from = self
            .operation
            .steps()
            .find(|(other, _)| other.id.as_str() == step)
            .and_then(|(step, at)| at.on.clone().or_else(|| step.node.clone()));
        if state == AttemptState::Done {
            self.shows(step);
        }
        self.hears(&from.unwrap(), step, attempt, state, repeatable);
    }

    /// What is done is so, and its agent has not seen it before it was otherwise again.
    pub(crate) fn says_unseen(&mut self, step: &str, on: &str) -> &mut Self {
        let attempt = self.attempt(step);
        self.hears(
            &on.parse().unwrap(),
            step,
            attempt,
            AttemptState::Done,
            false,
        );
        self.advance()
    }

    fn hears(
        &mut self,
        from: &NodeName,
        step: &str,
        attempt: u64,
        state: AttemptState,
        repeatable: bool,
    ) {
        let report = AttemptReport {
            id: AttemptId {
                operation: OperationId(1),
                step: StepId::new(step),
                attempt: AttemptNo(attempt),
            },
            state,
            evidence: "said".into(),
            repeatable,
        };
        self.with(|operation, ctx| operation.report(from, &report, ctx));
    }

    /// The agent of a step's node shows what the step, or taking it back, has made of the instance.
    fn shows(&mut self, step: &str) {
        let goes_back = matches!(self.phase(step), Phase::Undoing | Phase::UndoFailed);
        let mut steps = self.plan.plan().steps.iter();
        let it = steps.find(|other| other.id.as_str() == step).unwrap();
        let (Some(service), Some(node)) = (it.service.clone(), it.node.clone()) else {
            return;
        };
        let running = match &it.action {
            Action::Start | Action::Verify => !goes_back,
            Action::Stop => goes_back,
            _ => return,
        };
        let state = match running {
            true => InstanceState::Running,
            false => InstanceState::Stopped,
        };
        // An agent tells what is news.
        let known = self.view.instance(&node, &service);
        if known.is_none_or(|(seen, _)| seen.state != state) {
            self.instance(service.as_str(), node.as_str(), state);
        }
    }

    /// What a step waits for.
    pub(crate) fn waits_for(&self, step: &str) -> String {
        self.operation.waits_for(&StepId::new(step))
    }

    pub(crate) fn asks(&mut self, verb: Verb, step: &str) -> Result<(), Refused> {
        self.asks_as(Role::Operator, verb, step)
    }

    pub(crate) fn asks_as(&mut self, role: Role, verb: Verb, step: &str) -> Result<(), Refused> {
        let step = Some(step).filter(|step| !step.is_empty());
        self.with(|operation, ctx| operation.control(verb, step, "anna", role, "because", ctx))
    }

    /// Anna asks for something, of a step or of the whole, and says why.
    pub(crate) fn asks_because(&mut self, verb: Verb, step: &str, why: &str) {
        let step = Some(step).filter(|step| !step.is_empty());
        let role = Role::Operator;
        self.with(|operation, ctx| operation.control(verb, step, "anna", role, why, ctx))
            .unwrap();
    }

    fn state_of(&self, step: &str) -> &interlock_engine::operation::StepState {
        let mut steps = self.operation.steps();
        steps
            .find(|(other, _)| other.id.as_str() == step)
            .unwrap()
            .1
    }

    pub(crate) fn phase(&self, step: &str) -> Phase {
        self.state_of(step).phase
    }

    pub(crate) fn attempt(&self, step: &str) -> u64 {
        self.state_of(step).attempt.0
    }

    pub(crate) fn evidence(&self, step: &str) -> &str {
        &self.state_of(step).evidence
    }

    pub(crate) fn state(&self) -> State {
        self.operation.state()
    }

    /// What was sent since this was last asked, as `WORD STEP #N` or `probe NODE`, `power NODE`.
    pub(crate) fn sent(&mut self) -> Vec<String> {
        let name = |id: &AttemptId| format!("{} #{}", id.step, id.attempt);
        std::mem::take(&mut self.effects)
            .iter()
            .map(|effect| match effect {
                Effect::Dispatch {
                    id, command, to, ..
                } => {
                    format!("{} {} on {to}", command.word(), name(id))
                }
                Effect::Query { id, .. } => format!("query {}", name(id)),
                Effect::Cancel { id, .. } => format!("cancel {}", name(id)),
                Effect::Probe { on, .. } => format!("probe {on}"),
                Effect::AskPower(node) => format!("power {node}"),
                Effect::TryAddress { on, address, .. } => format!("try {address} from {on}"),
            })
            .collect()
    }
}
