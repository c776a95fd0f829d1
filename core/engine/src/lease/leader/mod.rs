//! The leader's side: one machine per service in the coordinator that leads.
//!
//! It reads, counts, judges and begins epochs; renewals and releases go past it (`renewal`), so it is needed for changes of
//! holder only. What it knows dies with it: a new leader counts from its own first reading.
//!
//! # Invariants
//! * **Only what was read decides** (E3): a linearizable read of its own. A watch may say *when* to read, never *what* is so.
//! * **One transaction at a time.** After each, whatever became of it, the record is read again before anything is decided.
//! * **A bump needs** the leader's key, the revision that was counted, and a proof for every earlier epoch (E9); a failover
//!   needs besides that no operation holds the service, and takes its claim (E18).
//! * **The record's terms count**, never the spec's (E8): those are only proposed to the holder.
//!
//! | file | holds |
//! |---|---|
//! | `event` | what comes in, what goes out |
//! | `reading` | what was read, and since when it counts |
//! | `expiry` | when time is a proof |
//! | `hasten` | what ends an epoch sooner: its holder is asked to, or switched off |
//! | `suspicion` | when a machine is lost, and may be switched off |
//! | `evidence` | power devices and people |
//! | `fitness` | who may take over |
//! | `choice` | who of them does |
//! | `agreed` | under which terms |
//! | `candidates` | the same for people, and for moves on purpose |
//! | `restarted` | machines that have just been started |
//! | `written` | how far the holder had written some seconds ago |
//! | `bump` | the transactions |
//! | `doubt` | a store that went back |

mod agreed;
mod bump;
mod candidates;
mod choice;
pub(super) mod doubt;
mod event;
pub(super) mod evidence;
pub(super) mod expiry;
mod fitness;
mod hasten;
mod pass;
mod reading;
mod restarted;
mod suspicion;
mod written;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_model::ids::OperationId;
use interlock_model::lease::{Epoch, Holder as Member, Shortfall, Terms};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::time::Timestamp;

pub use doubt::Undecided;
pub use event::{Effect, Event, Holding, Standing};
pub use expiry::NotExpired;
pub use fitness::Unfit;
pub use suspicion::NotLost;

use super::clock::Clock;
use evidence::{Attested, PoweredOff};
use hasten::{Fencing, WantedBack};
use reading::Reading;
use suspicion::Tried;
use written::Written;

/// What a leader knows when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The service.
    pub service: ServiceName,
    /// Which store this is.
    pub incarnation: String,
    /// What the spec says. Proposed to the holder; binding only for the first epoch of all.
    pub terms: Terms,
    /// May a holder that is lost be switched off?
    pub fence: bool,
    /// How long a stop of the service may take.
    pub stop_within: Duration,
    /// For how long after its start a machine is young.
    pub boot_dead: Duration,
}

/// What a node has said, and when it arrived.
#[derive(Debug, Clone)]
struct Heard {
    standing: Standing,
    at: Clock,
    /// Since when it says, without a break, that its clients do not reach it.
    unlinked: Option<Clock>,
    /// Since when it says, without a break, that its interfaces have a link, and that it hears somebody there.
    linked: Option<Clock>,
}

/// The machine of one service, in one term of one leader.
#[derive(Debug)]
pub struct Leader {
    config: Config,
    automatic: bool,
    wanted: Option<(OperationId, NodeName)>,
    /// What may be lost by the word of who ordered an operation.
    accepted: Option<(OperationId, Shortfall)>,
    reading: Option<Reading>,
    /// Something was not committed, so the last reading is not what is so.
    outdated: bool,
    /// When a read was asked for that has not ended.
    asked: Option<Clock>,
    heard: BTreeMap<NodeName, Heard>,
    /// The highest epoch that each node has said to have seen, to this leader.
    witnessed: BTreeMap<NodeName, Epoch>,
    cleared: BTreeSet<NodeName>,
    /// Who sees the instance of which node accept writes, and since when it last said so.
    sightings: BTreeMap<(NodeName, NodeName), Clock>,
    /// What other nodes have found: who has tried, at whose machine.
    tries: BTreeMap<(NodeName, NodeName), Tried>,
    /// Why this coordinator doubts itself, if it does.
    doubted: Option<String>,
    /// When others were last asked for the holder's machine.
    probed: Option<Clock>,
    off: Option<PoweredOff>,
    attested: BTreeMap<NodeName, (String, String)>,
    word: Option<Attested>,
    last_transaction: u64,
    in_flight: Option<(u64, Option<Promotion>)>,
    /// When commands and proposals were last sent.
    told: Option<Clock>,
    /// When the holder was last asked to give the role back.
    asked_back: Option<Clock>,
    /// What was last wanted back.
    wanted_back: Option<WantedBack>,
    /// For which operation it went back to where it was, in which epoch: a coordinator of an earlier version drops what the record
    /// says of it.
    sent_back: Option<(OperationId, Epoch)>,
    /// The wall clock, for the record.
    wall: Timestamp,
    fencing: Option<Fencing>,
    /// How far the holder had written.
    written: Written,
    /// Why nothing is done, in the words of the last pass.
    reason: Option<String>,
}

/// A command that follows a bump.
#[derive(Debug, Clone)]
struct Promotion {
    to: Member,
    epoch: Epoch,
    terms: Terms,
}

impl Leader {
    /// A leader that knows nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            automatic: false,
            wanted: None,
            accepted: None,
            reading: None,
            outdated: false,
            asked: None,
            heard: BTreeMap::new(),
            witnessed: BTreeMap::new(),
            cleared: BTreeSet::new(),
            sightings: BTreeMap::new(),
            tries: BTreeMap::new(),
            doubted: None,
            probed: None,
            off: None,
            attested: BTreeMap::new(),
            word: None,
            last_transaction: 0,
            in_flight: None,
            told: None,
            asked_back: None,
            wanted_back: None,
            sent_back: None,
            wall: Timestamp::default(),
            fencing: None,
            written: Written::default(),
            reason: None,
        }
    }

    /// Takes an event; returns what to do now, in this order. `now` is read right before the call.
    pub fn handle(&mut self, event: Event, now: Clock) -> Vec<Effect> {
        let mut out = Vec::new();
        match event {
            Event::Tick => {}
            Event::Read(stored) => self.read(stored, now),
            Event::Standing(standing) => self.stands(standing, now),
            Event::Sighted {
                observer,
                node,
                writable,
            } => {
                let key = (observer, node);
                if writable {
                    self.sightings.insert(key, now);
                } else {
                    self.sightings.remove(&key);
                }
            }
            Event::Tried {
                observer,
                node,
                reached,
                asked,
            } => self.tried(observer, node, Tried { reached, asked }),
            Event::Doubted(doubted) => self.doubted = doubted,
            Event::Fences(fences) => self.config.fence = fences,
            Event::PoweredOff { node, asked } => self.powered_off(&node, asked),
            Event::NotFenced { node, why, asked } => {
                if let Some(fencing) = &mut self.fencing
                    && self.reading.as_ref().is_none_or(|it| it.is_held_by(&node))
                {
                    fencing.failed = Some((why, asked));
                }
            }
            Event::Attest { node, by, why } => self.attest(node, by, why),
            Event::Cleared(node) => drop(self.cleared.insert(node)),
            Event::Wanted(wanted) => self.wanted = wanted,
            Event::Accepts(accepted) => self.accepted = accepted,
            Event::Terms(terms) => self.config.terms = terms,
            Event::BootDead(boot_dead) => self.config.boot_dead = boot_dead,
            Event::StopWithin(within) => self.config.stop_within = within,
            Event::Automatic(automatic) => self.automatic = automatic,
            Event::Committed(id) => self.committed(id, now, &mut out),
            Event::NotCommitted(id) => {
                if self
                    .in_flight
                    .as_ref()
                    .is_some_and(|(flying, _)| *flying == id)
                {
                    self.in_flight = None;
                    self.outdated = true;
                    self.asked = None;
                }
            }
        }
        self.pass(now, &mut out);
        out
    }

    /// What time it is for people: what is written down from now on says so.
    pub fn set_wall(&mut self, wall: Timestamp) {
        self.wall = wall;
    }

    /// Why nothing is done about a service that has no primary, for people; none if all is well or something is under way.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    fn read(&mut self, stored: super::Stored, now: Clock) {
        self.asked = None;
        self.outdated = false;
        let reading = Reading::next(self.reading.as_ref(), stored, now);
        let epoch = reading.record().map(super::LeaseRecord::epoch);
        let position = reading.record().and_then(super::LeaseRecord::position);
        self.written.note(position, now);
        self.off
            .take_if(|off| Some(off.epoch()) != epoch || off.is_contradicted_by(&reading));
        self.word.take_if(|word| Some(word.epoch) != epoch);
        self.fencing.take_if(|fencing| Some(fencing.epoch) != epoch);
        if self.word.is_none() {
            // Given before this leader had read who holds the role.
            let mut words = self.attested.iter();
            self.word = words.find_map(|(node, (by, why))| {
                Attested::establish(node, by.clone(), why.clone(), &reading)
            });
        }
        self.reading = Some(reading);
    }

    fn stands(&mut self, standing: Standing, now: Clock) {
        let node = standing.holder.node.clone();
        let seen = self.witnessed.entry(node.clone()).or_default();
        *seen = standing.seen.max(*seen);
        // It lives, so nobody's word that it is down holds any more.
        self.attested.remove(&node);
        self.word.take_if(|word| word.node == node);
        self.off.take_if(|off| off.is_of(&standing.holder));
        let before = self.heard.get(&node);
        let since = |is_so: bool, before: Option<Clock>| is_so.then(|| before.unwrap_or(now));
        let is_unlinked = standing.unlinked.is_some();
        let heard = Heard {
            unlinked: since(is_unlinked, before.and_then(|heard| heard.unlinked)),
            linked: since(
                standing.hears && !is_unlinked,
                before.and_then(|heard| heard.linked),
            ),
            standing,
            at: now,
        };
        self.heard.insert(node, heard);
    }

    fn powered_off(&mut self, node: &NodeName, asked: Clock) {
        // If it proves nothing it may be asked again as soon as the holder is lost again.
        self.fencing = None;
        let heard = &self.heard;
        let spoke = |holder: &Member| {
            let heard = heard.get(&holder.node)?;
            (heard.standing.holder == *holder).then_some(heard.at)
        };
        let reading = self.reading.as_ref();
        let off = reading.and_then(|reading| PoweredOff::establish(node, asked, reading, spoke));
        self.off = off.or(self.off.take());
    }

    fn attest(&mut self, node: NodeName, by: String, why: String) {
        if let Some(reading) = &self.reading {
            let word = Attested::establish(&node, by.clone(), why.clone(), reading);
            self.word = word.or(self.word.take());
        }
        self.heard.remove(&node);
        self.attested.insert(node, (by, why));
    }

    /// Is anything known of the record since it was last changed?
    #[must_use]
    pub fn has_read(&self) -> bool {
        self.reading.is_some()
    }

    fn committed(&mut self, id: u64, now: Clock, out: &mut Vec<Effect>) {
        let Some((_, promotion)) = self.in_flight.take_if(|(flying, _)| *flying == id) else {
            return;
        };
        // What was read before is not so any more.
        self.reading = None;
        self.asked = None;
        // A hand-over that is written is begun at once.
        self.asked_back = None;
        if let Some(Promotion { to, epoch, terms }) = promotion {
            self.told = Some(now);
            out.push(Effect::Promote { to, epoch, terms });
        }
    }
}
