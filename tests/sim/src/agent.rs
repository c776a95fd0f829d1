//! An agent process: the shipped ledger, and the disk that outlives it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use interlock_engine::agent::Peer;
use interlock_engine::agent::asked::Asked;
use interlock_engine::agent::autonomy::{Autonomy, Mark};
use interlock_engine::agent::ledger::{Effect, Ledger, Record, Slot, Write};
use interlock_engine::coordinator::{Assignment, CheckReport, ToAgent};
use interlock_model::check::{CheckId, Verdict};
use interlock_model::ids::{AttemptId, BootId, Term};
use interlock_model::names::ServiceName;

use crate::keeper::Keeper;
use crate::run::SessionId;

/// An agent, dead or alive.
#[derive(Debug)]
pub(crate) struct Agent {
    /// Counts its lives; what was planned for an earlier one does not happen.
    pub(crate) life: u64,
    /// The process; none while it is dead.
    pub(crate) alive: Option<Alive>,
    /// What is on its disk.
    pub(crate) disk: BTreeMap<Slot, Record>,
    /// The assignment that it took last, on its disk.
    pub(crate) assignment: Option<(Mark, Assignment)>,
    /// Commands that reached it lately, for a network that delivers them again.
    pub(crate) heard: VecDeque<(SessionId, Term, ToAgent)>,
}

/// What an agent process holds in memory.
#[derive(Debug)]
pub(crate) struct Alive {
    pub(crate) ledger: Ledger,
    pub(crate) autonomy: Autonomy,
    /// Sessions that are to be greeted as soon as the ledger is durable.
    pub(crate) greeting: BTreeMap<Peer, SessionId>,
    /// The sessions that were greeted.
    pub(crate) sessions: BTreeMap<Peer, SessionId>,
    /// What it was asked to look at in each of them.
    pub(crate) questions: BTreeMap<SessionId, Asked<Duration>>,
    /// Batches on their way to the disk.
    pub(crate) batches: VecDeque<(u64, Vec<Write>)>,
    /// The last result of each check, and when it was found.
    pub(crate) seen: BTreeMap<CheckId, (Verdict, Duration)>,
    /// In which term each attempt was first asked for.
    pub(crate) asked: BTreeMap<AttemptId, Term>,
    /// The guards of its instances.
    pub(crate) keepers: BTreeMap<ServiceName, Keeper>,
}

/// A batch that has reached the disk.
#[derive(Debug)]
pub(crate) struct Durable {
    pub(crate) records: Vec<Record>,
    pub(crate) removed: Vec<Slot>,
    /// What was waiting for it.
    pub(crate) then: Vec<Effect>,
}

impl Agent {
    pub(crate) fn new() -> Self {
        Self {
            life: 0,
            alive: None,
            disk: BTreeMap::new(),
            assignment: None,
            heard: VecDeque::new(),
        }
    }

    /// The process starts, from what is on its disk.
    pub(crate) fn start(&mut self, boot: BootId, now: Duration) {
        self.life += 1;
        self.alive = Some(Alive {
            ledger: Ledger::restore(boot, self.disk.values().cloned()),
            autonomy: Autonomy::new(self.assignment.as_ref().map(|(mark, _)| *mark), now),
            greeting: BTreeMap::new(),
            sessions: BTreeMap::new(),
            questions: BTreeMap::new(),
            batches: VecDeque::new(),
            seen: BTreeMap::new(),
            asked: BTreeMap::new(),
            keepers: BTreeMap::new(),
        });
    }

    /// The process is gone, and with it all that is not on disk.
    pub(crate) fn die(&mut self) {
        self.alive = None;
        self.life += 1;
    }

    /// Forgets what is over, and that it is over. No agent that ships does; a mutant does.
    pub(crate) fn forget_what_is_over(&mut self) {
        let Some(Record::ClosedBelow(below)) = self.disk.remove(&Slot::ClosedBelow) else {
            return;
        };
        self.disk
            .retain(|slot, _| !matches!(slot, Slot::Entry(id) if id.operation < below));
    }

    /// A batch reaches the disk; nothing does if it is not the next one.
    pub(crate) fn durable(&mut self, batch: u64) -> Option<Durable> {
        let alive = self.alive.as_mut()?;
        let (_, writes) = alive.batches.pop_front_if(|(next, _)| *next == batch)?;
        let mut records = Vec::new();
        let mut removed = Vec::new();
        for write in writes {
            match write {
                Write::Put(record) => {
                    records.push(record.clone());
                    self.disk.insert(record.slot(), record);
                }
                Write::Remove(slot) => {
                    self.disk.remove(&slot);
                    removed.push(slot);
                }
            }
        }
        let then = alive.ledger.committed(batch);
        Some(Durable {
            records,
            removed,
            then,
        })
    }
}

impl Alive {
    /// What it would tell of its checks now, with their ages.
    pub(crate) fn results(&self, now: Duration) -> Vec<CheckReport> {
        self.seen
            .iter()
            .map(|(id, (verdict, at))| report(id, *verdict, now.saturating_sub(*at)))
            .collect()
    }
}

/// A result as it is told.
pub(crate) fn report(id: &CheckId, verdict: Verdict, age: Duration) -> CheckReport {
    CheckReport {
        id: id.clone(),
        verdict,
        evidence: format!("probe says {verdict}"),
        value: Some("the same".to_owned()),
        paused: false,
        age,
        after: 0,
    }
}
