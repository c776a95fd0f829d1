//! What services work on: the engine, and what belongs to this process alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{Coordinator, Write};
use interlock_model::ids::Term;
use interlock_model::lease::Shortfall;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Digest, SealedPlan};
use interlock_model::time::Timestamp;
use interlock_planner::{Rendering, Request};
use interlock_proto::v1;
use tokio::sync::watch;

use super::Lineage;
use crate::clock;
use crate::leases::Board;

/// How many plans are kept for being started. A person looks at one, perhaps two.
const KEPT_PLANS: usize = 64;

/// A plan that was shown.
#[derive(Debug, Clone)]
pub struct CachedPlan {
    /// The plan.
    pub plan: Arc<SealedPlan>,
    /// What it was asked for with, to make it again before it is started.
    pub request: Request,
    /// The texts that it writes.
    pub rendering: Arc<Rendering>,
    number: u64,
}

/// Everything that a call may look at and change.
#[derive(Debug)]
pub struct Desk {
    /// The engine.
    pub coordinator: Coordinator,
    /// This coordinator's name.
    pub name: String,
    /// Which store it works on.
    pub incarnation: String,
    /// Which stores this one succeeds.
    pub lineage: Lineage,
    /// What agents said of their machines when they connected.
    pub facts: BTreeMap<NodeName, v1::Facts>,
    /// How it stands with leases, for people.
    pub leases: Board,
    /// Nodes whose machines are down by a person's word, with who gave it and why. What is heard of again is not.
    pub(crate) attested: BTreeMap<NodeName, (String, String)>,
    /// When the certificates end that agents have shown.
    pub(crate) certificates: BTreeMap<NodeName, Timestamp>,
    /// Nodes whose share for logs does not have everything, as far as they have said to this process, and why;
    /// empty until they have said so in this session.
    shares_away: BTreeMap<NodeName, String>,
    trouble: watch::Receiver<Option<String>>,
    plans: BTreeMap<Digest, CachedPlan>,
    planned: u64,
    /// Writes that are not the engine's.
    own_writes: Vec<Write>,
    /// The highest term of an import that was just taken up.
    imported: Option<Term>,
}

impl Desk {
    pub(super) fn new(
        name: String,
        incarnation: String,
        coordinator: Coordinator,
        trouble: watch::Receiver<Option<String>>,
    ) -> Self {
        Self {
            coordinator,
            name,
            lineage: Lineage::new(&incarnation),
            incarnation,
            own_writes: Vec::new(),
            imported: None,
            facts: BTreeMap::new(),
            leases: Board::default(),
            attested: BTreeMap::new(),
            certificates: BTreeMap::new(),
            shares_away: BTreeMap::new(),
            trouble,
            plans: BTreeMap::new(),
            planned: 0,
        }
    }

    /// Why the store takes no writes, if it takes none.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// Wants this written as well; the call is answered when it is durable.
    pub fn write(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.own_writes.extend(writes);
    }

    pub(super) fn take_writes(&mut self) -> Vec<Write> {
        std::mem::take(&mut self.own_writes)
    }

    /// Goes on with what was imported: another engine, to which no agent has spoken yet, under a term above `term`.
    pub fn take_over(&mut self, mut coordinator: Coordinator, term: Term) {
        coordinator.numbers_after(&self.coordinator);
        self.coordinator = coordinator;
        self.facts.clear();
        self.plans.clear();
        self.imported = Some(term);
    }

    /// Goes on with what the store holds: what was decided beyond that is not so.
    pub(super) fn start_over(&mut self, mut coordinator: Coordinator) {
        coordinator.numbers_after(&self.coordinator);
        coordinator.keep_failovers(&self.coordinator);
        self.coordinator = coordinator;
        self.own_writes.clear();
        self.facts.clear();
        self.plans.clear();
    }

    /// Why a node's share for logs does not have everything, if it has said so.
    #[must_use]
    pub fn share_away(&self, node: &NodeName) -> Option<&str> {
        let said = self.shares_away.get(node)?;
        (!said.is_empty()).then_some(said)
    }

    /// An agent has connected, with a certificate that ends then. What it said in an earlier session of its share for logs it
    /// says again if it is still so.
    pub(super) fn connected(&mut self, node: &NodeName, facts: v1::Facts, ends: Timestamp) {
        self.facts.insert(node.clone(), facts);
        self.certificates.insert(node.clone(), ends);
        self.attested.remove(node);
        if let Some(said) = self.shares_away.get_mut(node) {
            said.clear();
        }
    }

    /// Records when a node's share for logs goes away, and when it has everything again; what an agent says in each
    /// session is no news.
    pub(super) fn log_share(&mut self, node: &NodeName, trouble: String) {
        let (is_news, kind, text) = if trouble.is_empty() {
            let back = self.shares_away.remove(node).is_some();
            (
                back,
                "log-share-back",
                "the log share has everything".to_owned(),
            )
        } else {
            let before = self.shares_away.insert(node.clone(), trouble.clone());
            let away = before.is_none();
            (away, "log-share-away", trouble)
        };
        if is_news {
            self.coordinator.event(kind, clock::now(), |event| {
                event.node = node.to_string();
                event.text = text;
            });
        }
    }

    pub(super) fn take_imported(&mut self) -> Option<Term> {
        self.imported.take()
    }

    pub(super) fn heartbeat(&self) -> Duration {
        self.coordinator
            .applied()
            .map_or(Duration::from_secs(1), |applied| {
                applied.spec.control.heartbeat
            })
    }

    /// A person gives their word that the machine of a node is down.
    pub(crate) fn attest_down(&mut self, node: &NodeName, by: &str, why: &str) {
        self.attested
            .insert(node.clone(), (by.to_owned(), why.to_owned()));
        self.coordinator
            .event("attested-down", clock::now(), |event| {
                event.node = node.to_string();
                event.text =
                    format!("{by} gives their word that the machine of {node} is down: {why}");
            });
    }

    /// A person accepts that writes are lost.
    pub(crate) fn tell_accepted(
        &mut self,
        accepted: &BTreeMap<ServiceName, Shortfall>,
        by: &str,
        why: &str,
    ) {
        for (name, lost) in accepted {
            let spec = self.coordinator.applied().map(|applied| &applied.spec);
            let Some(service) = spec.and_then(|spec| spec.services.get(name)) else {
                continue;
            };
            let told = service.told_loss(*lost);
            self.coordinator
                .event("loss-accepted", clock::now(), |event| {
                    event.service = name.to_string();
                    event.text =
                        format!("{by} accepts that writes of {name} are lost, {told}: {why}");
                });
        }
    }

    /// Keeps a plan so that it can be started by its digest.
    pub fn keep(&mut self, plan: SealedPlan, request: Request, rendering: Arc<Rendering>) {
        self.planned += 1;
        let cached = CachedPlan {
            plan: Arc::new(plan),
            request,
            rendering,
            number: self.planned,
        };
        self.plans.insert(cached.plan.digest(), cached);
        if self.plans.len() > KEPT_PLANS
            && let Some(oldest) = self
                .plans
                .iter()
                .min_by_key(|(_, cached)| cached.number)
                .map(|(digest, _)| *digest)
        {
            self.plans.remove(&oldest);
        }
    }

    /// A plan that was kept, by its digest or the first digits of it.
    #[must_use]
    pub fn kept(&self, digest: &str) -> Option<CachedPlan> {
        if digest.len() < 8 {
            return None;
        }
        let mut found = self
            .plans
            .values()
            .filter(|cached| cached.plan.digest().to_string().starts_with(digest));
        match (found.next(), found.next()) {
            (Some(one), None) => Some(one.clone()),
            _ => None,
        }
    }
}
