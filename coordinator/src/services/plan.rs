//! `PlanService`: what would be done.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{Awaited, Coordinator};
use interlock_mesh::reason::{Because as _, Reason};
use interlock_model::action::Power;
use interlock_model::check::CheckId;
use interlock_model::file::MAX_TEXT;
use interlock_model::names::{NodeName, PowerName, ServiceName};
use interlock_model::observation::Liveness;
use interlock_model::plan::PlanKind;
use interlock_model::spec::{Node, Spec};
use interlock_model::time::Now;
use interlock_planner::{Change, Entry, Request as PlanRequest, Scope, Subject};
use interlock_proto::convert::{Invalid, name};
use interlock_proto::v1;
use interlock_proto::v1::plan_service_server::PlanService;
use tonic::{Request, Response, Status};

use super::patience::Patience;
use super::planning::{Planning, known};
use super::rendering::Renderer;
use super::{NAMED, comparing, held};
use crate::clock;
use crate::driver::Handle;

/// How old the answer of a power source may be for a node that is not in the scope of a plan.
const FRESH: Duration = Duration::from_secs(60);

/// How long after the start of this process an agent may be unheard that is there: a little more than the longest time
/// after which it tries anew.
const REJOIN: Duration = Duration::from_secs(7);

/// Serves `PlanService`.
#[derive(Debug, Clone)]
pub struct Plans {
    driver: Handle,
    renderer: Renderer,
    planning: Planning,
    started: tokio::time::Instant,
}

impl Plans {
    /// The service over this driver.
    #[must_use]
    pub fn new(driver: Handle, planning: Planning) -> Self {
        Self {
            driver,
            renderer: Renderer::new(),
            planning,
            started: tokio::time::Instant::now(),
        }
    }

    /// Asks the power sources of silent nodes, and waits for them for a while. What they said before this call is nothing
    /// that a plan for these nodes could go by: a machine is switched in a second. Agents that may be on their way, since
    /// this process has just started, are waited for: those of silent nodes, and those that reach a power source.
    ///
    /// Returns since when what they say counts.
    async fn ask_power(&self, scope: &Scope) -> Result<Now, Status> {
        let begun = clock::now();
        let asked = tokio::time::Instant::now();
        let mut patience = Patience::default();
        let agents_until = self.started + REJOIN;
        loop {
            let scope = scope.clone();
            let awaited = self
                .driver
                .call(move |desk| awaited(&mut desk.coordinator, &scope, begun))
                .await?;
            let agents = awaited.agents && tokio::time::Instant::now() < agents_until;
            let calls = awaited.calls.into_iter();
            let late = awaited.late && asked.elapsed() < awaited.lost;
            if !patience.waits(asked.elapsed(), awaited.answers, calls) && !agents && !late {
                return Ok(begun);
            }
            // The questions wait behind what the store does not take.
            self.driver.can_write()?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits a moment for nodes that were heard of and have not reported yet: a session that has just been opened.
    async fn settle(&self) -> Result<(), Status> {
        for _ in 0..20 {
            let waiting = self
                .driver
                .call(|desk| {
                    let Some(applied) = desk.coordinator.applied() else {
                        return false;
                    };
                    // A hello tells the generation; the instances follow it.
                    let has_instances = |node: &NodeName| {
                        let mut services = applied.spec.services.values();
                        services.any(|service| service.nodes.contains(node))
                    };
                    desk.coordinator.view().nodes().any(|(node, seen)| {
                        seen.session.is_some()
                            && seen.liveness == Liveness::Alive
                            && (seen.generation != applied.record.generation
                                || seen.instances.is_empty() && has_instances(node))
                    })
                })
                .await?;
            if !waiting {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl PlanService for Plans {
    async fn make_plan(
        &self,
        request: Request<v1::MakePlanRequest>,
    ) -> Result<Response<v1::MakePlanResponse>, Status> {
        let request = plan_request(&request.into_inner())?;
        let begun = self.ask_power(&request.scope).await?;
        self.settle().await?;
        let rendered = self.renderer.render(&self.driver, &request).await?;
        let rendering = comparing::compared(&self.driver, rendered.rendering).await?;
        let turn = self.planning.turn().await?;
        let known = self.driver.call(|desk| known(desk)).await??;
        let generation = known.generation;
        if rendered.generation.is_some_and(|it| it != generation) {
            return Err(Status::aborted(
                "another spec was applied while the template was rendered; plan again",
            )
            .because(Reason::PlanStale));
        }
        let planned = turn.plan(known, request.clone(), Arc::clone(&rendering));
        let (outcome, turn) = planned.await?;
        drop(turn);
        let mut report = outcome.report.entries().to_vec();
        let (plan_json, digest) = outcome.plan.as_ref().map_or_else(Default::default, |plan| {
            let text = String::from_utf8_lossy(plan.bytes()).into_owned();
            (text, plan.digest().to_string())
        });
        let told = self
            .driver
            .call(move |desk| {
                let mut told = silent(&desk.coordinator, &request.scope, begun);
                if let Some(why) = desk.trouble() {
                    told.push(Entry::Warning {
                        subject: Subject::cluster(),
                        text: format!(
                            "the coordinator's store takes no writes, and until it does no plan can be started: {why}"
                        ),
                    });
                }
                if let Some(plan) = outcome.plan {
                    told.extend(held::of(&desk.coordinator, plan.plan()));
                    desk.keep(plan, request, rendering);
                }
                told
            })
            .await?;
        report.extend(told);
        let report_json = serde_json::to_string(&report)
            .map_err(|error| Status::internal(format!("the report cannot be written: {error}")))?;
        let response = v1::MakePlanResponse {
            digest,
            plan_json,
            report_json,
            generation: generation.0,
        };
        Ok(Response::new(response))
    }
}

/// What a plan still waits for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Open {
    /// Of how many silent nodes the power source has not answered yet.
    answers: usize,
    /// May an agent be on its way that is needed?
    agents: bool,
    /// Is the agent of a node late? It is heard again, or lost.
    late: bool,
    /// When it is lost.
    lost: Duration,
    /// The limits of all calls about silent nodes.
    calls: Vec<Duration>,
}

/// Is its agent heard, and not late?
fn is_heard(coordinator: &Coordinator, node: &NodeName) -> bool {
    let view = coordinator.view();
    let late = view
        .node(node)
        .is_some_and(|seen| seen.liveness == Liveness::Late);
    view.alive(node) && !late
}

/// Sees to it that power sources are asked, and says what is still awaited of them and of agents.
fn awaited(coordinator: &mut Coordinator, scope: &Scope, begun: Now) -> Open {
    let now = clock::now();
    let mut open = Open::default();
    let Some(applied) = coordinator.applied() else {
        return open;
    };
    let spec = Arc::clone(&applied.spec);
    let is_silent = |node: &&Node| !is_heard(coordinator, &node.name);
    let silent: Vec<&Node> = spec.nodes.values().filter(is_silent).collect();
    let devices = silent.iter().filter_map(|node| node.power.as_ref());
    let devices = devices.filter_map(|power| spec.power.get(&power.by));
    open.calls = devices.map(|device| device.timeout).collect();
    open.lost = spec.control.lost;
    for node in silent {
        open.late |= touches(scope, &spec, node) && coordinator.view().alive(&node.name);
        let seen = coordinator.view().node(&node.name);
        let unheard = seen.is_none_or(|seen| seen.liveness == Liveness::Unheard);
        // What was said while it was heard says nothing of what became of it.
        let heard = seen.and_then(|seen| seen.heard).unwrap_or_default();
        let since = if touches(scope, &spec, node) {
            begun.mono
        } else {
            begun.mono.saturating_sub(FRESH).max(heard)
        };
        if node.power.is_some() {
            match coordinator.want_power(&node.name, since, now) {
                Awaited::Nothing => {}
                Awaited::Answer => open.answers += 1,
                Awaited::Agent => open.agents = true,
            }
        }
        let said = coordinator.view().power_since(&node.name, since);
        let is_off = matches!(said, Some((Power::Off, _)));
        open.agents |= unheard && !is_off && node.agentless.is_none();
    }
    open
}

/// Is a node, or an instance on it, in the scope?
fn touches(scope: &Scope, spec: &Spec, node: &Node) -> bool {
    match scope {
        Scope::All => true,
        Scope::Nodes(names) => names.contains(&node.name),
        Scope::Host(host) => node.host.as_ref() == Some(host),
        Scope::Label { key, value } => node.labels.get(key) == Some(value),
        Scope::Services(names) => names.iter().any(|name| {
            let service = spec.services.get(name);
            service.is_some_and(|service| service.nodes.contains(&node.name))
        }),
    }
}

/// What the plan goes by where agents of its scope are not heard: what power sources said, and how long ago, and which ones have
/// not answered since it was begun; and which nodes are contested.
fn silent(coordinator: &Coordinator, scope: &Scope, begun: Now) -> Vec<Entry> {
    let now = clock::now();
    let Some(applied) = coordinator.applied() else {
        return Vec::new();
    };
    let spec = &applied.spec;
    let nodes = spec.nodes.values();
    let mut entries = Vec::new();
    let (mut said, mut agentless, mut late) = (Vec::new(), Vec::new(), Vec::new());
    let mut unasked: BTreeMap<&PowerName, usize> = BTreeMap::new();
    for node in nodes.filter(|node| touches(scope, spec, node)) {
        if let Some(text) = coordinator.contested(&node.name, now) {
            entries.push(Entry::Warning {
                subject: Subject::node(&node.name),
                text,
            });
        }
        let seen = coordinator.view().node(&node.name);
        let alive = is_heard(coordinator, &node.name);
        if !alive && coordinator.view().alive(&node.name) {
            let heard = seen.and_then(|seen| seen.heard).unwrap_or_default();
            let ago = now.since(heard).as_secs();
            late.push(format!("{} (last heard {ago}s ago)", node.name));
        }
        let answered = coordinator.view().power_since(&node.name, begun.mono);
        if let Some(power) = node.power.as_ref().filter(|_| !alive && answered.is_none()) {
            *unasked.entry(&power.by).or_default() += 1;
        }
        if let Some((power, at, detail)) = seen.and_then(|seen| seen.power.as_ref())
            && !alive
        {
            let age = now.since(*at).as_secs();
            let said = if node.agentless.is_some() {
                &mut agentless
            } else {
                &mut said
            };
            said.push(match power {
                Power::Unknown => format!("{} is unknown ({age}s ago: {detail})", node.name),
                Power::On | Power::Off => format!("{} is {power} ({age}s ago)", node.name),
            });
        }
    }
    for (device, nodes) in unasked {
        entries.push(Entry::Warning {
            subject: Subject::cluster(),
            text: format!(
                "power device {device} has not answered about {nodes} of the nodes for this plan: it answers one question after the \
                 other, and this took too long; plan for fewer nodes at a time (`--node`), or see to the device"
            ),
        });
    }
    if !late.is_empty() {
        entries.push(Entry::Warning {
            subject: Subject::cluster(),
            text: format!(
                "agents that are late: {}; what is said of their nodes is of then, and need not be so now",
                named(late)
            ),
        });
    }
    for (who, said) in [
        ("agents that are not heard", said),
        ("nodes on which no agent runs", agentless),
    ] {
        if !said.is_empty() {
            entries.push(Entry::Warning {
                subject: Subject::cluster(),
                text: format!(
                    "{who}; their power sources, asked for this plan, say: {}",
                    named(said)
                ),
            });
        }
    }
    entries
}

/// The first of them, and how many more there are.
fn named(mut all: Vec<String>) -> String {
    let more = match all.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!(" and {more} more"),
        _ => String::new(),
    };
    all.truncate(NAMED);
    all.join(", ") + &more
}

fn plan_request(wire: &v1::MakePlanRequest) -> Result<PlanRequest, Invalid> {
    let kind = match wire.kind.as_str() {
        "shutdown" => PlanKind::Shutdown,
        "startup" => PlanKind::Startup,
        "restart" => PlanKind::Restart,
        "reboot" => PlanKind::Reboot,
        "switchover" => PlanKind::Switchover,
        "failover" => PlanKind::Failover,
        "failback" => PlanKind::Failback,
        "evacuate" => PlanKind::Evacuate,
        "restore" => PlanKind::Restore,
        other => {
            return Err(Invalid::new(
                "kind",
                format!(
                    "'{other}' is not shutdown, startup, restart, reboot, switchover, failover, failback, evacuate or \
                     restore"
                ),
            ));
        }
    };
    let mut request = PlanRequest::new(kind, scope(wire)?);
    request.batch = NonZeroU32::new(wire.batch);
    request.serial = wire.serial;
    request.attested = wire
        .attested_down
        .iter()
        .map(|node| name("attested_down", node))
        .collect::<Result<_, Invalid>>()?;
    if !request.attested.is_empty() && kind != PlanKind::Failover {
        return Err(Invalid::new("attested_down", "belongs to a failover alone"));
    }
    request.accept_loss = wire.accept_loss;
    if request.accept_loss && kind != PlanKind::Failover {
        return Err(Invalid::new("accept_loss", "belongs to a failover alone"));
    }
    request.failback = wire.failback;
    if request.failback && kind != PlanKind::Restore {
        return Err(Invalid::new("failback", "belongs to a restore alone"));
    }
    let is_of_host = matches!(kind, PlanKind::Evacuate | PlanKind::Restore);
    if is_of_host && !matches!(request.scope, Scope::Host(_)) {
        let why = format!("{kind} is about a VM host: name it, and no other scope");
        return Err(Invalid::new("host", why));
    }
    if let Some(change) = &wire.change {
        request.change = Some(file_change(change)?);
    }
    if !wire.to.is_empty() && kind == PlanKind::Failback {
        let why =
            "a failback goes to the first of the service's nodes; a switchover goes where you say";
        return Err(Invalid::new("to", why));
    }
    if !wire.to.is_empty() {
        request.to = Some(name("to", &wire.to)?);
    }
    request.force = wire
        .force
        .iter()
        .map(|text| check_id(text))
        .collect::<Result<BTreeSet<_>, _>>()?;
    request.assume_active = wire
        .assume_active
        .iter()
        .map(|(service, node)| {
            Ok((
                name::<ServiceName>("assume_active", service)?,
                name::<NodeName>("assume_active", node)?,
            ))
        })
        .collect::<Result<BTreeMap<_, _>, Invalid>>()?;
    Ok(request)
}

fn file_change(wire: &v1::FileChange) -> Result<Change, Invalid> {
    if wire.template.len() > MAX_TEXT {
        let what = format!("has {} bytes, and may have {MAX_TEXT}", wire.template.len());
        return Err(Invalid::new("change.template", what));
    }
    let file = match wire.file.as_str() {
        "" => None,
        text => Some(name("change.file", text)?),
    };
    Ok(Change {
        file,
        template: wire.template.clone(),
        even_if_unchanged: wire.even_if_unchanged,
    })
}

fn scope(wire: &v1::MakePlanRequest) -> Result<Scope, Invalid> {
    let given = [
        wire.all,
        !wire.services.is_empty(),
        !wire.nodes.is_empty(),
        !wire.label.is_empty(),
        !wire.host.is_empty(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err(Invalid::new(
            "scope",
            "name exactly one of all, services, nodes, label, host",
        ));
    }
    if wire.all {
        return Ok(Scope::All);
    }
    if !wire.services.is_empty() {
        return Ok(Scope::Services(
            wire.services
                .iter()
                .map(|text| name("services", text))
                .collect::<Result<_, _>>()?,
        ));
    }
    if !wire.nodes.is_empty() {
        return Ok(Scope::Nodes(
            wire.nodes
                .iter()
                .map(|text| name("nodes", text))
                .collect::<Result<_, _>>()?,
        ));
    }
    if !wire.host.is_empty() {
        return Ok(Scope::Host(name("host", &wire.host)?));
    }
    match wire.label.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(Scope::Label {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err(Invalid::new(
            "label",
            format!("'{}' is not key=value", wire.label),
        )),
    }
}

fn check_id(text: &str) -> Result<CheckId, Invalid> {
    let (service, check) = text
        .split_once('.')
        .ok_or_else(|| Invalid::new("force", format!("'{text}' is not SERVICE.CHECK")))?;
    Ok(CheckId {
        service: name("force", service)?,
        check: name("force", check)?,
    })
}

#[cfg(test)]
mod tests {
    use interlock_engine::coordinator::{FromAgent, Hello, Loaded, ToAgent};
    use interlock_model::ids::Term;

    use super::*;

    const POWERED: &str = "
cluster: shop
power: { box: { fence: fence_box, via: [m] } }
nodes:
  m: { address: 10.0.0.1 }
  a: { address: 10.0.0.2, power: { by: box, plug: pa } }
";

    /// The questions to power sources that were sent since this was last asked.
    fn questions(coordinator: &mut Coordinator) -> Vec<u64> {
        let sends = coordinator.take_output().sends;
        let asks = sends.into_iter().filter_map(|send| match send.message {
            ToAgent::AskPower { ask, .. } => Some(ask),
            _ => None,
        });
        asks.collect()
    }

    fn says(coordinator: &mut Coordinator, ask: u64, power: Power) {
        let answer = FromAgent::Power {
            ask,
            node: "a".parse().unwrap(),
            power,
            detail: String::new(),
        };
        coordinator.agent(&"m".parse().unwrap(), answer, clock::now());
    }

    #[test]
    fn a_plan_waits_for_the_agent_that_reaches_the_power_source_and_takes_no_answer_from_before() {
        let spec = Arc::new(Spec::parse(POWERED.as_bytes(), "shop.yaml").unwrap().spec);
        let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
        coordinator.apply_spec(spec, String::new(), String::new(), "admin", clock::now());
        let begun = clock::now();
        // Nobody is there yet: that is no answer.
        for _ in 0..2 {
            let open = awaited(&mut coordinator, &Scope::All, begun);
            assert!(open.agents && open.answers == 0, "{open:?}");
        }
        let hello = FromAgent::Hello(Box::<Hello>::default());
        coordinator.agent(&"m".parse().unwrap(), hello, clock::now());
        for _ in 0..2 {
            assert_eq!(awaited(&mut coordinator, &Scope::All, begun).answers, 1);
        }
        let asked = questions(&mut coordinator);
        assert_eq!(asked.len(), 1, "one question, however often it is looked");
        says(&mut coordinator, asked[0], Power::Off);
        let open = awaited(&mut coordinator, &Scope::All, begun);
        assert!(open.answers == 0 && !open.agents, "{open:?}");
        let told = silent(&coordinator, &Scope::All, begun);
        assert!(
            told.len() == 1 && told[0].to_string().contains("a is off (0s ago)"),
            "{told:?}"
        );

        // Another plan: somebody may have switched it on since.
        let begun = clock::now();
        assert_eq!(awaited(&mut coordinator, &Scope::All, begun).answers, 1);
        assert_eq!(questions(&mut coordinator).len(), 1);
        let told = silent(&coordinator, &Scope::All, begun);
        let unasked = "box has not answered about 1 of the nodes";
        assert!(told[0].to_string().contains(unasked), "{told:?}");
    }

    #[test]
    fn a_plan_waits_out_an_agent_that_is_late_and_the_report_says_of_when_its_word_is() {
        let spec = Arc::new(Spec::parse(POWERED.as_bytes(), "shop.yaml").unwrap().spec);
        let lost = spec.control.lost;
        let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
        let ago = |seconds| {
            let now = clock::now();
            let mono = now.mono.checked_sub(Duration::from_secs(seconds)).unwrap();
            Now { mono, ..now }
        };
        coordinator.apply_spec(spec, String::new(), String::new(), "admin", ago(5));
        for node in ["m", "a"] {
            let hello = FromAgent::Hello(Box::<Hello>::default());
            coordinator.agent(&node.parse().unwrap(), hello, ago(5));
        }
        coordinator.agent(&"m".parse().unwrap(), FromAgent::Heartbeat, clock::now());
        let begun = clock::now();
        let open = awaited(&mut coordinator, &Scope::All, begun);
        assert_eq!(
            (open.late, open.answers),
            (false, 0),
            "it is heard: {open:?}"
        );
        assert!(silent(&coordinator, &Scope::All, begun).is_empty());

        coordinator.tick(clock::now());
        let open = awaited(&mut coordinator, &Scope::All, begun);
        assert_eq!((open.late, open.answers, open.lost), (true, 1, lost));
        let asked = questions(&mut coordinator);
        assert_eq!(asked.len(), 1, "its power source is asked");
        let told: Vec<String> = silent(&coordinator, &Scope::All, begun)
            .iter()
            .map(ToString::to_string)
            .collect();
        let late =
            "agents that are late: a (last heard 5s ago); what is said of their nodes is of then";
        assert!(told.iter().any(|it| it.contains(late)), "{told:?}");
        let only = Scope::Nodes(std::iter::once("m".parse().unwrap()).collect());
        assert!(
            !awaited(&mut coordinator, &only, begun).late,
            "not in the scope"
        );

        // Its machine has lost its power: it is off, and nothing of it is late.
        says(&mut coordinator, asked[0], Power::Off);
        assert!(coordinator.view().is_off(&"a".parse().unwrap()));
        assert!(!awaited(&mut coordinator, &Scope::All, begun).late);
    }
}
