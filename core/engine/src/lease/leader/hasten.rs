//! What ends an epoch sooner than time: its holder gives the role back, or its machine is switched off.
//!
//! A holder is asked to give it back where an operation wants the role elsewhere, and where it says itself that its clients do not
//! reach it any more: it is healthy, renews, and is of no use. That is no failover. It lives, so nothing of what it has written is
//! to be lost, whatever the limit of a failover is: who is to take over has to follow it closely before it is asked, and to have all
//! of it before the next epoch begins. And when a switch is started again, all are without a link at once, and do not get it back
//! at once: nobody takes over who has not had one for longer than that takes, and hears somebody there.
//!
//! Switching off is asked for once a holder is [lost](super::suspicion), where the spec says so, and where somebody else is fit
//! to take over: a machine that is off serves nobody. What became of it is told; only a confirmed *off* is a proof (see
//! [`PoweredOff`](super::evidence::PoweredOff)), and the lease goes on to expire meanwhile, if it does.

use std::time::Duration;

use interlock_model::lease::{Epoch, Holder as Member};
use interlock_model::names::NodeName;

use super::bump;
use super::event::{Effect, Standing};
use super::reading::Reading;
use super::{Clock, Heard, Leader};
use crate::lease::{HandOver, LeaseRecord, Reason};

/// When it is tried again after its power source was not even asked.
const SOON: Duration = Duration::from_millis(500);

/// For how long a holder has to say that its clients do not reach it, before it is asked to give the role back: a cable that is put
/// into another port of a switch, and a port that is started anew, are out for less. And so long that who follows it is compared with
/// what was written when the link was out already (`written::AGO`, and the second in which a standby says how far it has got): where
/// the same link carries the replication, nobody follows, and it keeps the role.
const UNLINKED: Duration = Duration::from_secs(5);

/// For how long somebody must have had a link, without a break, and have heard others by it, who takes over because of that. Ports of
/// a switch that is started again differ by less.
const LINKED: Duration = Duration::from_secs(5);

/// A power device was asked to switch the holder off.
#[derive(Debug, Clone)]
pub(super) struct Fencing {
    /// Whose epoch that was to end: what came of it says nothing of who holds a later one.
    pub(super) epoch: Epoch,
    pub(super) at: Clock,
    /// Why that came to nothing, and whether it was asked at all.
    pub(super) failed: Option<(String, bool)>,
}

/// A role that is wanted back from its holder.
#[derive(Debug, Clone, Copy)]
pub(super) struct WantedBack {
    epoch: Epoch,
    since: Clock,
    last: Clock,
}

impl Leader {
    /// Nobody reaches the holder, and somebody else is reached: the role is to go there.
    pub(super) fn hand_over(
        &mut self,
        reading: &Reading,
        record: &LeaseRecord,
        now: Clock,
        out: &mut Vec<Effect>,
    ) {
        let unlinked = |holder: &Member| record.is_held() && self.is_unlinked(holder, now);
        if !record.holder().is_some_and(unlinked) {
            return;
        }
        let is_reached = |heard: &Heard| self.is_reached(&heard.standing.holder.node, now);
        let Some(successor) = self.successor(reading, record, is_reached, now).cloned() else {
            return;
        };
        let of_holder = record.holder().and_then(|it| self.heard.get(&it.node));
        let why = of_holder.and_then(|heard| heard.standing.unlinked.clone());
        let why = Reason::Unlinked(why.unwrap_or_default());
        self.ask_back(reading, record, &successor, why, now, out);
    }

    /// Was the role given back by somebody who is well, and who was asked to, or whom nobody reaches? What it has written is there
    /// then, all of it. That it was asked to is in the record: its link may be back by then, and that changes nothing of what it has
    /// written.
    pub(super) fn is_handed_over(&self, record: &LeaseRecord, now: Clock) -> bool {
        let given_back = record.holder().is_none() && record.ended_at().is_some();
        let was_asked = record.is_owed();
        let mut heard = self.heard.values();
        given_back
            && heard.any(|heard| {
                let standing = &heard.standing;
                standing.mark == Some(record.last_held())
                    && (was_asked || standing.unlinked.is_some())
                    && now.longest_since(heard.at) < self.timings().fence()
            })
    }

    /// Was it given back for an operation, or is it in nobody's name that it moves now? Then that it is owed is all that lets it
    /// move, and no failure: who lacks anything of what was written does not get it, whether the former primary is heard or not.
    pub(super) fn is_owed_all(&self, record: &LeaseRecord) -> bool {
        let by_operation = |it: &HandOver| !it.why.is_automatic();
        record.is_owed() && (!self.automatic || record.hand_over().is_some_and(by_operation))
    }

    /// Has a member had a link for long enough, and heard others by it?
    pub(super) fn is_reached(&self, node: &NodeName, now: Clock) -> bool {
        let since = self.heard.get(node).and_then(|heard| heard.linked);
        since.is_some_and(|since| now.shortest_since(since) >= LINKED)
    }

    /// The current epoch is not over, and the role is wanted elsewhere. The record says so before the holder is asked.
    pub(super) fn ask_back(
        &mut self,
        reading: &Reading,
        record: &LeaseRecord,
        candidate: &Standing,
        why: Reason,
        now: Clock,
        out: &mut Vec<Effect>,
    ) {
        let Some(holder) = record.holder() else {
            return;
        };
        if candidate.holder.node == holder.node {
            return;
        }
        if let Reason::Operation(id) = &why
            && (record.has_returned_from(*id) || self.sent_back == Some((*id, record.epoch())))
        {
            self.reason = Some(format!(
                "it was given back for {id}, nobody could say how far it had written, and it is where it was: give {id} up, \
                 and move it anew"
            ));
            return;
        }
        let automatic = why.is_automatic();
        let epoch = record.epoch();
        let before = self.wanted_back.filter(|before| before.epoch == epoch);
        let since = before.map_or(now, |before| before.since);
        let known = record.hand_over();
        // Others wait for what moves by itself (see `coordinator::budget`). Who has not begun to stop by then is asked anew, if that
        // may still be.
        let too_long = |known: &HandOver| now.shortest_since(since) >= known.within;
        if automatic && known.is_some_and(too_long) {
            return;
        }
        self.wanted_back = Some(WantedBack {
            epoch,
            since,
            last: now,
        });
        let period = record.terms().timings.renewal();
        let asked = |at: Clock| now.longest_since(at) < period;
        let is_quiet = self.asked_back.is_some_and(asked);
        // One operation does not go by what another one has asked for.
        let is_another = |known: &HandOver| {
            let of_other = known.why != why || known.to != candidate.holder.node;
            known.why.is_automatic() != automatic || (!automatic && of_other)
        };
        if known.is_none_or(is_another) {
            // Whoever carries it out may refuse a move by itself, and is not asked all the time.
            if automatic && is_quiet {
                return;
            }
            self.asked_back = Some(now);
            let hand_over = HandOver {
                to: candidate.holder.node.clone(),
                why,
                since: self.wall,
                within: self.config.stop_within,
            };
            let written = bump::hand_over(reading, record, Some(hand_over));
            self.commit(written, None, out);
            return;
        }
        if !is_quiet {
            self.asked_back = Some(now);
            out.push(Effect::AskRelease {
                from: holder.clone(),
                epoch: record.epoch(),
                automatic,
            });
        }
    }

    /// Ends a hand-over that came to nothing: nobody wants the role back any more, and a stop that was begun when it was last
    /// asked for would be over. What an earlier leader asked for, it asked for before this one knew of it.
    pub(super) fn end_hand_over(
        &mut self,
        reading: &Reading,
        record: &LeaseRecord,
        now: Clock,
        out: &mut Vec<Effect>,
    ) {
        let Some(hand_over) = record.hand_over().filter(|_| record.holder().is_some()) else {
            return;
        };
        let epoch = record.epoch();
        let wanted = self.wanted_back.filter(|wanted| wanted.epoch == epoch);
        let since = wanted.map_or(reading.holder_since(), |wanted| wanted.last);
        if self.in_flight.is_none() && now.shortest_since(since) >= hand_over.within {
            self.wanted_back = None;
            let ended = bump::hand_over(reading, record, None);
            self.commit(ended, None, out);
        }
    }

    /// Does this boot of the holder say, and has it said for long enough, that its clients do not reach it?
    fn is_unlinked(&self, holder: &Member, now: Clock) -> bool {
        self.heard.get(&holder.node).is_some_and(|heard| {
            heard.standing.holder == *holder
                && now.longest_since(heard.at) < self.timings().fence()
                && heard
                    .unlinked
                    .is_some_and(|since| now.shortest_since(since) >= UNLINKED)
        })
    }

    /// The current epoch is not over, and its holder may be lost: then its power source may end it sooner. Whatever comes of
    /// that, the lease goes on to expire, if it does.
    pub(super) fn fence(
        &mut self,
        reading: &Reading,
        record: &LeaseRecord,
        candidate: &Standing,
        now: Clock,
        out: &mut Vec<Effect>,
    ) {
        let other = record
            .holder()
            .filter(|holder| holder.node != candidate.holder.node);
        let (true, true, Some(holder)) = (self.config.fence, record.is_held(), other) else {
            return;
        };
        let lost = self.is_lost(reading, now);
        let tell = |reason: &mut Option<String>, what: String| {
            if let Some(reason) = reason {
                reason.push_str("; ");
                reason.push_str(&what);
            }
        };
        if let Err(why) = lost {
            tell(&mut self.reason, format!("not switched off: {why}"));
            return;
        }
        // A fence agent may take a while, and one that does not answer says nothing.
        let patience = record.terms().timings.life() * 2;
        let waits = self.fencing.as_ref().filter(|fencing| {
            let patience = match &fencing.failed {
                Some((_, false)) => SOON,
                Some((_, true)) | None => patience,
            };
            now.longest_since(fencing.at) < patience
        });
        match waits {
            Some(Fencing {
                failed: Some((why, _)),
                ..
            }) => tell(&mut self.reason, format!("not switched off: {why}")),
            Some(_) => tell(
                &mut self.reason,
                "its power source was asked to switch it off".to_owned(),
            ),
            None => {
                self.fencing = Some(Fencing {
                    epoch: record.epoch(),
                    at: now,
                    failed: None,
                });
                out.push(Effect::Fence {
                    node: holder.node.clone(),
                    epoch: record.epoch(),
                });
            }
        }
    }
}
