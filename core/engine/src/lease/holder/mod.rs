//! The holder's side: one machine per service on each node.
//!
//! ```text
//!  Standby ─ promote ─► Claiming ─ own renewal ─► Marking ─ durable ─► Promoting ─ done ─► Primary
//!     ▲      (no right)            acknowledged   was primary                               │    ▲
//!     │                                                                     release, death  │    │ acknowledged
//!     │                     released e                                         Releasing ◄──┘  Blocked ◄─ an agent starts
//!     └──────────────────── is durable ◄─ Freeing ◄─ empty ─┬─────────────────────┘             │         without a valid
//!                                                        Stopping ◄─ S, superseded ─────────────┘         deadline
//!                                                           └ K: reset the node
//! ```
//!
//! # Invariants
//! * **Before anything else** a call looks whether the right has lapsed, and stops by force if so: whatever waited while the
//!   agent did not run comes after that. So the caller reads both clocks right before each call, never once for several.
//! * **No right but an own acknowledged renewal** of exactly the epoch, sent after the command came (E5).
//! * **The holder counts from sending**, by the clock that says more (E13).
//! * **Nothing that protects waits for a disk** (E14): a forced stop is an effect of the same call.
//! * **What is given back is never taken up again** (E10): *released* is durable before anybody is told, and all up to it is
//!   refused afterwards, in any boot.
//!
//! Effects are carried out in their order and at once; batches of facts become durable in the order of their numbers. One that opens something for a time (the path, the watchdog) has the
//! time that was left when it was decided: a shell that may have been stopped in between must look at its clock again.
//!
//! | file | holds |
//! |---|---|
//! | `event` | what comes in, what goes out |
//! | `facts` | what is durable |
//! | `tenure` | how long the right lasts |
//! | `start` | an agent that starts |
//! | `promotion` | from a command to a primary |
//! | `renewing` | renewals, terms, watchdog, synchrony |
//! | `failsafe` | promises of peers |
//! | `ending` | release, forced stop, an agent that ends |

mod ending;
mod event;
mod facts;
mod failsafe;
mod promotion;
mod renewing;
mod start;
mod tenure;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use interlock_model::lease::{ControlLoss, Epoch, Holder as Member, Synchrony, Terms};
use interlock_model::names::{NodeName, ServiceName};

pub use event::{Effect, Event, Found};
pub use facts::{Facts, Mark, Released};
pub use tenure::Tenure;

use super::Right;
use super::clock::Clock;
use super::record::Safeguards;
use super::renewal::ReleaseReport;

/// What the agent's own configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The service.
    pub service: ServiceName,
    /// This node in this boot.
    pub me: Member,
    /// What is expected of a watchdog device.
    pub watchdog: Watchdog,
    /// Do all writers come by a path that the kernel closes by itself?
    pub client_path: bool,
    /// Does the instance keep data of its own, which a standby has to have? If not, every member has all there is.
    pub data: bool,
}

/// What is expected of a watchdog device, where the lease ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Watchdog {
    /// None is armed.
    #[default]
    Off,
    /// One is armed if that can be done.
    Automatic,
    /// Nothing is promoted before one is armed, and nobody stays primary without.
    Required,
}

/// Where the instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Standby,
    /// Told to be primary at this time; without any right.
    Claiming {
        epoch: Epoch,
        since: Clock,
    },
    /// The mark is being made durable.
    Marking,
    /// The manager is promoting.
    Promoting,
    Primary,
    /// An agent has started without a valid deadline: nothing is written until a renewal is acknowledged.
    Blocked {
        epoch: Epoch,
        since: Clock,
    },
    /// The manager is stopping; the right still lasts.
    Releasing,
    /// Being stopped by force.
    Stopping {
        epoch: Epoch,
        since: Clock,
        within: Duration,
        reset: bool,
    },
    /// Nothing is left, and *released* is being made durable.
    Freeing,
}

/// A renewal that was sent.
#[derive(Debug, Clone)]
struct Sent {
    at: Clock,
    epoch: Epoch,
    synchrony: Synchrony,
}

/// What a batch of facts was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    Promote(Epoch),
    Released,
}

/// A question to all peers.
#[derive(Debug, Clone)]
struct Question {
    asked: Clock,
    agreed: BTreeSet<NodeName>,
}

/// The machine of one service on one node, in one life of its agent.
#[derive(Debug)]
pub struct Holder {
    config: Config,
    started: Clock,
    facts: Facts,
    durable_seen: Epoch,
    /// What was durable when this agent started.
    seen_at_start: Epoch,
    last_batch: u64,
    committing: VecDeque<(u64, Epoch, After)>,
    phase: Phase,
    tenure: Option<Tenure>,
    /// The terms of the epoch that is being claimed.
    claimed: Option<Terms>,
    /// What the mark was before that of the promotion that is under way, until that is done.
    mark_before: Option<Option<Mark>>,
    /// That promotion had no effect.
    unwritten: bool,
    /// What the leader would like, until it is sent.
    wished: Option<Terms>,
    sent: BTreeMap<Duration, Sent>,
    last_sent: Option<Clock>,
    /// The highest number of a renewal, in `CLOCK_BOOTTIME`.
    highest_sent: Duration,
    /// A renewal went unanswered.
    turn: u64,
    armed: bool,
    /// It was tried to arm one under this tenure.
    arms: bool,
    synchrony: Synchrony,
    degrading: bool,
    /// The record certainly says that writes wait for nobody.
    recorded_off: bool,
    position: Option<u64>,
    /// Why the instance could not be promoted now.
    unready: Option<String>,
    /// Why nobody would reach an address of the role here.
    unlinked: Option<String>,
    /// Something was received lately by each interface that has an address of the role.
    hears: bool,
    /// How good it would be to promote the instance, by its OCF agents.
    score: Option<i64>,
    /// Promised to a peer: since when, and for how long.
    promise: Option<(Clock, Duration)>,
    /// What was asked of all peers lately, in order.
    questions: VecDeque<Question>,
    unreported: Option<ReleaseReport>,
    last_report: Option<Clock>,
    exiting: bool,
    last_call: Option<Clock>,
}

/// Nobody starts or promotes an exclusive service by hand (safety rule E16).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is exclusive: it is started and promoted by its lease alone; use `interlockctl switchover` or `failover`"
)]
pub struct NotByHand(pub ServiceName);

impl Holder {
    /// Takes an event; returns what to do now, in this order. `now` is read right before the call.
    pub fn handle(&mut self, event: Event, now: Clock) -> Vec<Effect> {
        let mut out = Vec::new();
        self.notice_pause(now, &mut out);
        self.fence_if_lapsed(now, &mut out);
        match event {
            Event::Tick => {}
            Event::Heard {
                epoch,
                holder,
                witnessed,
            } => {
                self.compare(witnessed, &mut out);
                self.heard(epoch, holder.as_ref(), now, &mut out);
            }
            Event::Cleared => self.cleared(&mut out),
            Event::Promote {
                epoch,
                holder,
                terms,
            } => self.promote(epoch, &holder, terms, now, &mut out),
            Event::Acknowledged { epoch, sent, terms } => {
                self.acknowledged(epoch, sent, terms, now, &mut out);
            }
            Event::Superseded(epoch) => self.superseded(epoch, now, &mut out),
            Event::Propose(terms) => self.wish(terms),
            Event::PeerAsks {
                from,
                epoch,
                ask,
                life,
            } => self.peer_asks(from, epoch, ask, life, now, &mut out),
            Event::PeerAgrees { node, ask } => self.peer_agrees(&node, ask, now, &mut out),
            Event::Release(epoch) => self.release(epoch, &mut out),
            Event::Promoted => self.promoted(now, &mut out),
            Event::PromotionFailed => self.stop(&mut out),
            Event::Unwritten => self.unwritten(),
            Event::Empty { position } => self.empty(position, &mut out),
            Event::Died { restart } => self.died(restart, now, &mut out),
            Event::Found(found) => self.found(found, now, &mut out),
            Event::Armed(armed) => self.armed(armed, &mut out),
            Event::Synchronous(nodes) => self.synchronous(nodes),
            Event::Degrade => self.degrade(now, &mut out),
            Event::Position(position) => self.position = position,
            Event::Unready(why) => self.unready = why,
            Event::Link { unlinked, hears } => {
                self.unlinked = unlinked;
                self.hears = hears;
            }
            Event::Score(score) => self.score = score,
            Event::Follows(epoch) => self.follows(epoch, &mut out),
            Event::Diverged => self.diverged(&mut out),
            Event::ReleaseWritten(epoch) => self.release_written(epoch),
            Event::Exit => self.exit(&mut out),
            Event::Committed(batch) => self.committed(batch, now, &mut out),
        }
        self.keep_up(now, &mut out);
        out
    }

    /// What was [`Config::client_path`] is so, or is not so, from now on: renewals that were sent have promised what they have.
    pub const fn set_client_path(&mut self, client_path: bool) {
        self.config.client_path = client_path;
    }

    /// What was [`Config::data`] is so, or is not so, from now on. Of a standby only: what a primary has promised rests on it.
    pub const fn set_data(&mut self, data: bool) {
        self.config.data = data;
    }

    /// Refuses: an exclusive service is not started or promoted by hand.
    ///
    /// # Errors
    /// Always.
    pub fn by_hand(&self) -> Result<Right, NotByHand> {
        Err(NotByHand(self.config.service.clone()))
    }

    /// In how long the machine wants to be called again at the latest, by any clock; none if nothing is due.
    ///
    /// Never more than half of R while there is a right to look after, because the remaining time is that of the faster of
    /// two clocks and a timer runs by one.
    #[must_use]
    pub fn due_in(&self, now: Clock) -> Option<Duration> {
        let half = |terms: &Terms| terms.timings.renewal() / 2;
        match &self.phase {
            Phase::Stopping {
                since,
                within,
                reset,
                ..
            } => (!reset).then(|| within.saturating_sub(now.longest_since(*since))),
            Phase::Standby | Phase::Freeing => self
                .unreported
                .is_some()
                .then_some(Duration::from_millis(250)),
            Phase::Claiming { .. }
            | Phase::Blocked { .. }
            | Phase::Marking
            | Phase::Promoting
            | Phase::Primary
            | Phase::Releasing => {
                let terms = self.tenure.as_ref().map(Tenure::terms_to_send);
                let half = terms.or(self.claimed.as_ref()).map_or(
                    interlock_model::lease::Timings::default().renewal() / 2,
                    half,
                );
                let left = self.tenure.as_ref().and_then(|tenure| tenure.left(now));
                Some(left.map_or(half, |left| left.min(half)))
            }
        }
    }

    /// What is known of this instance, for the leader.
    #[must_use]
    pub fn standing(&self, now: Clock) -> super::leader::Standing {
        super::leader::Standing {
            holder: self.config.me.clone(),
            seen: self.durable_seen,
            reverted: self.facts.reverted,
            holding: self.holding(),
            mark: self.facts.mark.as_ref().map(|mark| mark.epoch),
            follows: self.facts.follows,
            up: Some(now.boottime),
            idle: self.phase == Phase::Standby,
            promised: self.has_promised(now),
            position: self.position,
            unready: self.unready.clone(),
            rests: None,
            unlinked: self.unlinked.clone(),
            hears: self.hears,
            score: self.score,
        }
    }

    /// What this node holds, if it holds anything.
    fn holding(&self) -> Option<super::leader::Holding> {
        let tenure = self.tenure.as_ref()?;
        Some(super::leader::Holding {
            epoch: tenure.epoch(),
            renewed: tenure.renewed().boottime,
            terms: (!tenure.is_changing()).then(|| tenure.terms().clone()),
            safeguards: self.safeguards(tenure.terms()),
            synchrony: self.synchrony_under(tenure.terms()),
        })
    }

    /// Whom writes wait for. Where there is no data, what was written is with every member already.
    fn synchrony_under(&self, terms: &Terms) -> Synchrony {
        match self.config.data {
            true if self.degrading => Synchrony::Off,
            true => self.synchrony.clone(),
            false => Synchrony::With(terms.members.clone()),
        }
    }

    /// Does the next renewal say that writes wait for somebody? Then the position that it carries is not how far this instance has
    /// written: it is how far those are known to have it, which is what they are measured by.
    #[must_use]
    pub fn says_waits(&self) -> bool {
        self.promises() && !self.degrading
    }

    /// May the record say that writes wait for somebody, because this node has said so?
    #[must_use]
    pub fn promises(&self) -> bool {
        self.config.data && self.synchrony != Synchrony::Off
    }

    /// Does this node have the right to be primary at this moment?
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.phase == Phase::Primary
    }

    /// May the instance be started again here, as a standby?
    #[must_use]
    pub fn is_standby(&self) -> bool {
        self.phase == Phase::Standby
    }

    /// What is durable, or on its way to be.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    fn safeguards(&self, terms: &Terms) -> Safeguards {
        let expires = terms.on_control_loss != ControlLoss::Hold;
        // Whether the device suits other timings is known once it was asked, which is after the renewal that brings them.
        let changes = self.tenure.as_ref().is_some_and(Tenure::is_changing);
        Safeguards {
            watchdog: expires && self.armed && !changes,
            client_path: expires && self.config.client_path,
        }
    }

    fn commit(&mut self, after: After, out: &mut Vec<Effect>) {
        self.last_batch += 1;
        self.committing
            .push_back((self.last_batch, self.facts.seen, after));
        out.push(Effect::Commit {
            batch: self.last_batch,
            facts: self.facts.clone(),
        });
    }

    fn committed(&mut self, batch: u64, now: Clock, out: &mut Vec<Effect>) {
        while let Some((_, seen, after)) = self
            .committing
            .pop_front_if(|(number, _, _)| *number <= batch)
        {
            self.durable_seen = self.durable_seen.max(seen);
            match after {
                After::Nothing => {}
                After::Promote(epoch) => self.marked(epoch, now, out),
                After::Released => self.released(now, out),
            }
        }
    }

    /// An agent that was stopped, or a machine that was suspended, is told apart from one that had nothing to do.
    fn notice_pause(&mut self, now: Clock, out: &mut Vec<Effect>) {
        let last = self.last_call.replace(now);
        let (Some(last), Some(tenure)) = (last, &self.tenure) else {
            return;
        };
        let gone = now.longest_since(last);
        if gone > tenure.terms().timings.renewal() * 2 {
            out.push(Effect::Paused(gone));
        }
    }

    /// Renewals, petting, reports: whatever is due.
    fn keep_up(&mut self, now: Clock, out: &mut Vec<Effect>) {
        self.give_up_if_unanswered(now, out);
        self.reset_if_stuck(now, out);
        self.renew_if_due(now, out);
        self.ask_if_alone(now, out);
        self.pet(now, out);
        self.report(now, out);
    }
}
