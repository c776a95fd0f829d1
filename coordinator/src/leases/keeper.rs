//! One task per leased service: the shell around its [`Leader`].
//!
//! It tells the leader what happens, with the clocks read right before, and carries out what it wants: reads, transactions,
//! words to agents. One read and one transaction are under way at a time; a read that is asked for again replaces the one
//! before, whose answer would be older than what was seen since.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use interlock_engine::lease::leader::{Config, Effect, Event, Leader, Standing};
use interlock_engine::lease::{Change, Clock, Condition, LeaseRecord, Stored, Transaction};
use interlock_model::lease::Epoch;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::Fitness;
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::Leases;
use super::book::Fate;
use super::claim::{self, Claim};
use super::fencing::Fencing;
use super::story::Story;
use super::survey::{Facts, Survey};
use super::wire::Word;
use crate::clock;
use crate::driver::chain;

/// How long a transaction may take before nobody knows what became of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The shortest and the longest time in which a leader looks at its clock.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

/// The shell around the leader of one service.
pub(super) struct Keeper {
    leases: Leases,
    service: ServiceName,
    leader: Leader,
    facts: Facts,
    /// Why nothing moves by itself, if a person wants it so for a time.
    rest: Option<String>,
    /// What the leader was last told of that.
    automatic: Option<bool>,
    surveys: watch::Receiver<Arc<Survey>>,
    standings: mpsc::Receiver<Standing>,
    /// The read under way.
    reading: Option<Reading>,
    /// Why the lease cannot be read, if the last read failed.
    trouble: Option<String>,
    deciding: Option<Deciding>,
    /// How many transactions in a row were not committed.
    failed: u32,
    /// What was read last.
    stored: Option<Stored>,
    claim: Claim,
    fencing: Fencing,
    /// What each member was last told of the record.
    told: BTreeMap<NodeName, Word>,
    story: Story,
}

/// A read under way.
type Reading = BoxFuture<'static, Result<Stored, String>>;

/// A transaction under way.
struct Deciding {
    id: u64,
    transaction: Transaction,
    /// Does it count against a budget?
    counts: bool,
    fate: BoxFuture<'static, Fate>,
}

impl Keeper {
    pub(super) fn new(
        leases: Leases,
        service: ServiceName,
        facts: Facts,
        surveys: watch::Receiver<Arc<Survey>>,
        standings: mpsc::Receiver<Standing>,
    ) -> Self {
        let leader = Leader::new(Config {
            service: service.clone(),
            incarnation: leases.book().incarnation(),
            terms: facts.terms.clone(),
            fence: facts.fences,
            stop_within: facts.stop_within,
            boot_dead: facts.boot_dead,
        });
        Self {
            claim: Claim::new(leases.clone(), service.clone()),
            fencing: Fencing::new(leases.clone(), service.clone()),
            story: Story::new(leases.clone(), service.clone()),
            leases,
            service,
            leader,
            facts,
            rest: None,
            automatic: None,
            surveys,
            standings,
            reading: None,
            trouble: None,
            deciding: None,
            failed: 0,
            stored: None,
            told: BTreeMap::new(),
        }
    }

    /// Runs until the service is leased no more, or the driver has ended.
    pub(super) async fn run(mut self) {
        self.say_automatic();
        self.handle(self.facts.accepts());
        self.handle(Event::Wanted(self.facts.wanted.clone()));
        self.handle(Event::Doubted(self.facts.doubted.clone()));
        // What is so already is no news in any later survey.
        for node in &self.facts.lost {
            self.story.suspected(node, true);
        }
        for (node, (by, why)) in self.facts.attested.clone() {
            self.handle(Event::Attest { node, by, why });
        }
        let given_back = self.leases.pokes().of(&self.service);
        loop {
            let pause = self.pause();
            tokio::select! {
                () = given_back.notified() => self.begin_to_read(),
                fate = fate(&mut self.deciding) => self.decided(fate).await,
                read = read(&mut self.reading) => self.read(read).await,
                ordered = self.fencing.ordered() => {
                    self.fenced(ordered);
                    // One that was given for another service may have its answer already.
                    self.fence_answered();
                }
                standing = self.standings.recv() => match standing {
                    Some(standing) => self.stands(standing),
                    None => break,
                },
                changed = self.surveys.changed() => {
                    if changed.is_err() || !self.surveyed() {
                        break;
                    }
                }
                () = tokio::time::sleep(pause) => self.handle(Event::Tick),
            }
            let now = clock::of_leases();
            self.judge(now);
            let candidates = || self.leader.candidates(now);
            let (stored, reason) = (self.stored.as_ref(), self.leader.reason());
            let rest = self.rest.as_deref();
            self.story
                .shows(stored, &self.facts, rest, reason, candidates, now);
        }
        // What is under way may still be committed; until then no operation may begin on it.
        if let Some(deciding) = self.deciding.take() {
            deciding.fate.await;
        }
        self.claim.end().await;
        self.leases.board().remove(&self.service);
    }

    /// Says who could take the role now. Before the lease was read nobody knows.
    fn judge(&mut self, now: Clock) {
        if self.stored.is_none() || !self.leader.has_read() {
            return;
        }
        let lacking = self.leader.lacking(now);
        let fitness = |node: &NodeName, why: Option<String>| match (lacking.get(node), why) {
            (Some((lacks, why)), _) => Fitness::Lacks(*lacks, why.clone()),
            (None, why) => why.map_or(Fitness::Fit, Fitness::Unfit),
        };
        let mono = clock::now().mono;
        let candidates = self.leader.movable(now).into_iter();
        let judged = candidates.map(|(node, (age, why))| {
            let fitness = fitness(&node, why);
            (node, (mono.saturating_sub(age), fitness))
        });
        self.leases.board().judge(&self.service, judged.collect());
    }

    /// The terms that count: those of the record, and before there is one those of the spec.
    fn record(&self) -> Option<&LeaseRecord> {
        let (record, _) = self.stored.as_ref()?.record.as_ref()?;
        Some(record)
    }

    /// A leader reads twice in R and is otherwise moved by what happens; what is left is to see that time has passed.
    fn pause(&self) -> Duration {
        let terms = self.record().map_or(&self.facts.terms, LeaseRecord::terms);
        (terms.timings.renewal() / 5).clamp(LOOKS.0, LOOKS.1)
    }

    fn handle(&mut self, event: Event) {
        self.leader.set_wall(clock::now().wall);
        for effect in self.leader.handle(event, clock::of_leases()) {
            self.carry_out(effect);
        }
    }

    fn stands(&mut self, mut standing: Standing) {
        let node = standing.holder.node.clone();
        // What an operation holds is not touched, and its instance there may be about to go down.
        if let (None, Some(holder)) = (&standing.unready, self.facts.busy.get(&node)) {
            standing.unready = Some(format!("{holder} holds its node"));
        }
        // A person who has the role moved there knows better.
        let wanted = self.facts.wanted.as_ref().map(|(_, wanted)| wanted);
        if wanted != Some(&node) {
            standing.rests = self.facts.resting.get(&node).cloned();
        }
        if let Some(record) = self.record() {
            let word = Word::heard(record, &node);
            if self.leases.tell(&node, &self.service, &word) {
                self.told.insert(node, word);
            }
        }
        self.handle(Event::Standing(standing));
    }

    /// The engine knows something new. False if the service is leased no more.
    fn surveyed(&mut self) -> bool {
        let survey = Arc::clone(&self.surveys.borrow_and_update());
        let Some(facts) = survey.get(&self.service) else {
            return false;
        };
        let before = std::mem::replace(&mut self.facts, facts.clone());
        if before.terms != facts.terms {
            self.handle(Event::Terms(facts.terms.clone()));
        }
        for (lost, nodes) in [
            (true, facts.lost.difference(&before.lost)),
            (false, before.lost.difference(&facts.lost)),
        ] {
            for node in nodes {
                self.story.suspected(node, lost);
            }
        }
        if before.stop_within != facts.stop_within {
            self.handle(Event::StopWithin(facts.stop_within));
        }
        if before.boot_dead != facts.boot_dead {
            self.handle(Event::BootDead(facts.boot_dead));
        }
        if before.fences != facts.fences {
            self.handle(Event::Fences(facts.fences));
        }
        if before.doubted != facts.doubted {
            self.handle(Event::Doubted(facts.doubted.clone()));
        }
        for tried in facts.tried_since(&before) {
            self.handle(tried);
        }
        self.fence_answered();
        for (node, (by, why)) in &facts.attested {
            if before.attested.get(node) != Some(&(by.clone(), why.clone())) {
                self.handle(Event::Attest {
                    node: node.clone(),
                    by: by.clone(),
                    why: why.clone(),
                });
            }
        }
        if before.operation != facts.operation
            && let Some(stored) = &mut self.stored
        {
            stored.operation = facts.operation;
        }
        if before.accepted != facts.accepted {
            self.handle(facts.accepts());
        }
        if before.wanted != facts.wanted {
            self.handle(Event::Wanted(facts.wanted.clone()));
        }
        self.say_automatic();
        true
    }

    /// Tells the leader whether the role moves by itself, if that is news. Whose it is, or was last, may want to be left alone.
    fn say_automatic(&mut self) {
        let last = self.record().and_then(LeaseRecord::last_primary);
        let of_node = last.and_then(|node| self.facts.resting.get(node));
        self.rest = self.facts.rest.clone().or(of_node.cloned());
        let automatic = self.facts.automatic && self.rest.is_none();
        if self.automatic.replace(automatic) != Some(automatic) {
            self.handle(Event::Automatic(automatic));
        }
    }

    async fn read(&mut self, read: Result<Stored, String>) {
        self.reading = None;
        let mut stored = match read {
            Ok(stored) => stored,
            // It is asked for again by the leader.
            Err(trouble) => {
                if self.trouble.as_ref() != Some(&trouble) {
                    warn!(service = %self.service, trouble, "a lease cannot be read");
                    self.trouble = Some(trouble);
                }
                return;
            }
        };
        self.trouble = None;
        stored.operation = self.facts.operation;
        if self.deciding.is_none() {
            let automatic = self.facts.automatic && self.rest.is_none();
            self.claim.align(&stored, automatic).await;
        }
        self.story.read(&stored, clock::of_leases()).await;
        self.story.lost(&self.facts).await;
        self.stored = Some(stored.clone());
        // First: by what was read it may be somebody's who wants to be left alone.
        self.say_automatic();
        self.handle(Event::Read(stored));
        self.tell_members();
    }

    /// Members are told what has changed of the record since they were last told.
    fn tell_members(&mut self) {
        let Some((record, _)) = self.stored.as_ref().and_then(|it| it.record.as_ref()) else {
            return;
        };
        for node in &record.terms().members {
            let word = Word::heard(record, node);
            if self.told.get(node) != Some(&word) && self.leases.tell(node, &self.service, &word) {
                self.told.insert(node.clone(), word);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let service = &self.service;
        match effect {
            Effect::Read => self.begin_to_read(),
            Effect::Commit { id, transaction } => self.begin_to_decide(id, transaction),
            Effect::Promote { to, epoch, terms } => {
                let node = to.node.clone();
                let word = Word::Promote { to, epoch, terms };
                self.leases.tell(&node, service, &word);
            }
            Effect::Propose { to, terms } => {
                self.leases.tell(&to.node, service, &Word::Propose(terms));
            }
            Effect::AskRelease {
                from,
                epoch,
                automatic,
            } => {
                let (leases, service) = (self.leases.clone(), service.clone());
                let asked = Instant::now();
                let patience = self.facts.terms.timings.renewal();
                tokio::spawn(async move {
                    // What is to be left alone is not asked any more.
                    if automatic
                        && let Err(why) = claim::may_be_told(&leases, &service, &from.node).await
                    {
                        debug!(%service, why, "its role is not asked back");
                        return;
                    }
                    // What was decided before a store that has stalled is not so any more. It is decided again.
                    if automatic && asked.elapsed() > patience {
                        debug!(%service, "its role is not asked back: the answer came late");
                        return;
                    }
                    leases.tell(&from.node, &service, &Word::Release(epoch));
                });
            }
            Effect::Clear(node) => {
                self.leases.tell(&node, service, &Word::Cleared);
            }
            Effect::Probe(node) => {
                let driver = self.leases.driver().clone();
                // What others find is told with the facts; a driver that has ended asks nobody.
                tokio::spawn(async move {
                    let asked =
                        driver.call(move |desk| desk.coordinator.ask_others(&node, clock::now()));
                    drop(asked.await);
                });
            }
            Effect::Fence { node, epoch } => {
                let operation = self.facts.operation;
                self.fencing.order(node, epoch, operation);
            }
        }
    }

    /// An order to switch a machine off was not given, or has an answer.
    fn fenced(&mut self, came_of_it: Option<Event>) {
        if let Some(event) = came_of_it {
            self.story.fenced(&event);
            self.handle(event);
        }
    }

    /// The order that waits for its answer may have it.
    fn fence_answered(&mut self) {
        let answer = self.fencing.answer(&self.facts.fencings);
        self.fenced(answer);
    }

    fn begin_to_read(&mut self) {
        let (book, service) = (self.leases.book().clone(), self.service.clone());
        // What was refused right now is refused again right now.
        let pause = match self.failed {
            0 | 1 => Duration::ZERO,
            more => {
                (Duration::from_millis(10) * 2_u32.saturating_pow(more.min(6))).min(self.pause())
            }
        };
        let read = async move {
            tokio::time::sleep(pause).await;
            book.read(&service).await.map_err(|error| chain(&error))
        };
        self.reading = Some(read.boxed());
    }

    fn begin_to_decide(&mut self, id: u64, transaction: Transaction) {
        let candidates = self.leader.candidates(clock::of_leases());
        let stored = self.stored.as_ref();
        let decision = self.story.decides(
            &transaction,
            stored,
            candidates,
            &self.facts,
            clock::of_leases(),
        );
        let more = decision.map(|decision| decision.writes());
        let more = more.unwrap_or_default();
        let claims = claimed(&transaction);
        let from = self.record().and_then(LeaseRecord::last_primary).cloned();
        let owed = self.record().filter(|record| record.is_owed());
        let owed = owed.and_then(LeaseRecord::hand_over).cloned();
        let counts = claims
            .as_ref()
            .is_some_and(|(_, node)| claim::counts(from.as_ref(), node, owed.as_ref()));
        let asks = self.asks_by_itself(&transaction);
        if asks.is_some() {
            self.claim.may_be_reserved();
        }
        let (leases, service) = (self.leases.clone(), self.service.clone());
        let commit = transaction.clone();
        let fate = async move {
            let mut more = more;
            // A role that may not move is not given back: there would be no primary until a person acts.
            if let Some((epoch, node)) = asks
                && let Err(why) = claim::may_ask_back(&leases, &service, &node, epoch).await
            {
                return Fate::Not(why);
            }
            if let Some((epoch, node)) = claims {
                match claim::begin(&leases, &service, epoch, node, from, owed).await {
                    Ok(counts) => more.extend(counts),
                    Err(why) => return Fate::Not(why),
                }
            }
            let guard = leases.driver().leading().guard();
            let committed = leases.book().commit(&service, &commit, &guard, &more);
            tokio::time::timeout(PATIENCE, committed)
                .await
                .unwrap_or_else(|_| Fate::Unknown("the store does not answer".to_owned()))
        };
        self.deciding = Some(Deciding {
            id,
            transaction,
            counts,
            fate: fate.boxed(),
        });
    }

    /// Whose role of which epoch is to be given back by itself, if that is what is written down.
    fn asks_by_itself(&self, transaction: &Transaction) -> Option<(Epoch, NodeName)> {
        let known = self.record().and_then(LeaseRecord::hand_over);
        let record = transaction.record()?;
        let asks = record.hand_over().filter(|it| Some(*it) != known)?;
        let holder = record.holder().filter(|_| asks.why.is_automatic())?;
        Some((record.epoch(), holder.node.clone()))
    }

    async fn decided(&mut self, fate: Fate) {
        let Some(Deciding {
            id,
            transaction,
            counts,
            ..
        }) = self.deciding.take()
        else {
            return;
        };
        let (service, claims) = (&self.service, claimed(&transaction));
        let unclaims = transaction
            .changes()
            .iter()
            .any(|change| matches!(change, Change::Unclaim(_)));
        if counts && !matches!(fate, Fate::Not(_)) {
            self.claim.counts().await;
        }
        match fate {
            Fate::Committed => {
                self.failed = 0;
                if let Some((epoch, _)) = claims {
                    self.claim.is_taken(epoch);
                } else if unclaims {
                    self.claim.give_back().await;
                }
                self.story.decided(&transaction, self.stored.as_ref());
                self.handle(Event::Committed(id));
            }
            Fate::Not(why) => {
                debug!(%service, why, "nothing was decided");
                self.failed = self.failed.saturating_add(1);
                if claims.is_some() {
                    self.claim.is_uncertain();
                }
                self.handle(Event::NotCommitted(id));
            }
            Fate::Unknown(why) => {
                warn!(%service, why, "nobody knows whether something was decided; it is read again");
                self.failed = self.failed.saturating_add(1);
                if let Some((epoch, _)) = claims {
                    self.claim.may_be_written(epoch, revision(&transaction));
                }
                self.handle(Event::NotCommitted(id));
            }
        }
    }
}

/// Whom automatic failover claims the service for, if it does with this transaction.
fn claimed(transaction: &Transaction) -> Option<(Epoch, NodeName)> {
    let epoch = transaction
        .changes()
        .iter()
        .find_map(|change| match change {
            Change::Claim(epoch) => Some(*epoch),
            Change::Record(_) | Change::Unclaim(_) => None,
        })?;
    let holder = transaction.record()?.holder()?;
    Some((epoch, holder.node.clone()))
}

/// The revision that a transaction was conditional on.
fn revision(transaction: &Transaction) -> u64 {
    let mut conditions = transaction.conditions().iter();
    conditions
        .find_map(|condition| match condition {
            Condition::Revision(revision) => Some(*revision),
            Condition::Leading | Condition::NoOperation | Condition::Operation(_) => None,
        })
        .unwrap_or_default()
}

/// Waits for the transaction under way; for ever if there is none.
async fn fate(deciding: &mut Option<Deciding>) -> Fate {
    match deciding {
        Some(deciding) => deciding.fate.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Waits for the read under way; for ever if there is none.
async fn read(reading: &mut Option<Reading>) -> Result<Stored, String> {
    match reading {
        Some(reading) => reading.as_mut().await,
        None => std::future::pending().await,
    }
}
