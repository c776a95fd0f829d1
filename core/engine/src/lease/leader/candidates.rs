//! How every member stands as a candidate: for people, who ask why it was this one and not the other.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::lease::{Holder as Member, Shortfall};
use interlock_model::names::NodeName;

use super::bump::Cause;
use super::event::Standing;
use super::fitness::{self, Unfit};
use super::reading::Reading;
use super::{Clock, Heard, Leader};
use crate::lease::LeaseRecord;

impl Leader {
    /// Of each member, why it could not take over now; nothing if it could.
    #[must_use]
    pub fn candidates(&self, now: Clock) -> BTreeMap<NodeName, Option<String>> {
        self.judged(now, |_, _| false)
    }

    /// Of each member, why the role could not be moved there on purpose; nothing if it could. And how old that is by what it was
    /// judged by: what the member last said, and what was read then.
    #[must_use]
    pub fn movable(&self, now: Clock) -> BTreeMap<NodeName, (Duration, Option<String>)> {
        let age = |at: Clock| now.longest_since(at);
        let read = self.reading.as_ref().map(|reading| age(reading.at()));
        let judged = self.judged(now, |unfit, standing| self.follows_on(unfit, standing, now));
        let dated = judged.into_iter().map(|(node, why)| {
            let heard = self.heard.get(&node).map(|heard| age(heard.at));
            // That it cannot be done is so until it is seen to be otherwise.
            let age = heard.max(read).filter(|_| why.is_none());
            (node, (age.unwrap_or_default(), why))
        });
        dated.collect()
    }

    /// Of each member that could take the role by the word of who accepts that writes are lost: how much it lacks, and why. While the
    /// primary is heard it can be waited for, and nobody lacks anything.
    #[must_use]
    pub fn lacking(&self, now: Clock) -> BTreeMap<NodeName, (Shortfall, String)> {
        let read = self.reading.as_ref().filter(|reading| {
            !self.outdated && now.longest_since(reading.at()) < self.timings().life()
        });
        let Some((reading, record)) = read.and_then(|it| it.record().map(|record| (it, record)))
        else {
            return BTreeMap::new();
        };
        let terms = self.terms_after(record);
        let is_heard = |heard: &&Heard| now.longest_since(heard.at) < terms.timings.fence();
        let heard = |node: &NodeName| self.heard.get(node).filter(is_heard);
        if self.is_there(record, now) {
            return BTreeMap::new();
        }
        let recent = self.is_recent(reading, now);
        let lacks = |node: &NodeName| {
            let standing = &heard(node)?.standing;
            let unfit = fitness::judge(standing, record, &terms, true, recent, None).err()?;
            let lacks = fitness::shortfall(&unfit, standing, record)?;
            Some((node.clone(), (lacks, unfit.to_string())))
        };
        terms.members.iter().filter_map(lacks).collect()
    }

    /// Is the holder heard, so that it can be waited for?
    fn is_there(&self, record: &LeaseRecord, now: Clock) -> bool {
        let fence = self.terms_after(record).timings.fence();
        let holder = record.holder().filter(|_| record.is_held());
        let is_heard = |holder: &Member| {
            let heard = self.heard.get(&holder.node);
            heard
                .is_some_and(|it| it.standing.holder == *holder && now.longest_since(it.at) < fence)
        };
        holder.is_some_and(is_heard)
    }

    /// Has who ordered this operation accepted what this one would lose? Not once the primary is heard again: what it has written is
    /// waited for, and its writes are nobody's to give away.
    pub(super) fn may_lose(
        &self,
        cause: Cause,
        unfit: &Unfit,
        standing: &Standing,
        record: &LeaseRecord,
        now: Clock,
    ) -> bool {
        if self.is_there(record, now) {
            return false;
        }
        let accepted = match (cause, self.accepted) {
            (Cause::Operation(id), Some((by, accepted))) if by == id => accepted,
            (Cause::Operation(_) | Cause::Failover, _) => return false,
        };
        let lacks = fitness::shortfall(unfit, standing, record);
        lacks.is_some_and(|lacks| accepted.covers(lacks))
    }

    /// Is that nothing but what was written within the last seconds? A planned move waits for all that was written, so who has as
    /// much as the primary had some seconds ago is not too far behind, whatever was written since: in what unit a log is counted
    /// does not matter.
    fn follows_on(&self, unfit: &Unfit, standing: &Standing, now: Clock) -> bool {
        // A move on purpose is made from a primary that is there.
        if matches!(unfit, Unfit::JustStarted(_) | Unfit::OwnerFirst { .. }) {
            return true;
        }
        let is_lag = matches!(unfit, Unfit::Behind { .. } | Unfit::NotSynchronous);
        let written = self.written.some_time_ago(now);
        let has = |written| standing.position.is_some_and(|it| it >= written);
        is_lag && written.is_some_and(has)
    }

    /// Who would take the role over from a holder that is well, and lose nothing of what that has written.
    pub(super) fn successor(
        &self,
        reading: &Reading,
        record: &LeaseRecord,
        is_reached: impl Fn(&Heard) -> bool,
        now: Clock,
    ) -> Option<&Standing> {
        let terms = self.terms_after(record);
        let recent = self.is_recent(reading, now);
        let mut heard = terms.members.iter().filter_map(|it| self.heard.get(it));
        let fit = |heard: &&Heard| {
            let standing = &heard.standing;
            let unfit = fitness::judge(standing, record, &terms, true, recent, None).err();
            let unfit = unfit.filter(|unfit| !self.follows_on(unfit, standing, now));
            now.longest_since(heard.at) < terms.timings.fence()
                && record.holder() != Some(&standing.holder)
                && is_reached(heard)
                && unfit.is_none()
        };
        heard.find(fit).map(|heard| &heard.standing)
    }

    fn judged(
        &self,
        now: Clock,
        passes: impl Fn(&Unfit, &Standing) -> bool,
    ) -> BTreeMap<NodeName, Option<String>> {
        let record = self.reading.as_ref().and_then(|reading| {
            let record = reading.record()?;
            Some((record, self.is_recent(reading, now)))
        });
        let spec = || Cow::Borrowed(&self.config.terms);
        let terms = record.map_or_else(spec, |(record, _)| self.terms_after(record));
        // Since something was committed it was not read, or not lately.
        let is_old = |reading: &Reading| now.longest_since(reading.at()) >= self.timings().life();
        let unread = self.outdated || self.reading.as_ref().is_none_or(is_old);
        let why = |node: &NodeName| {
            let heard = self
                .heard
                .get(node)
                .filter(|heard| now.longest_since(heard.at) < terms.timings.fence());
            let Some(heard) = heard else {
                return Some(Unfit::Silent.to_string());
            };
            if unread {
                return Some("its lease was not read lately, so nobody knows".to_owned());
            }
            match record {
                Some((record, _)) if record.holder() == Some(&heard.standing.holder) => {
                    Some("it holds the role".to_owned())
                }
                Some((record, recent)) => {
                    let planned = self.wanted.is_some()
                        || self.is_handed_over(record, now)
                        || self.is_owed_all(record);
                    let young = self.young(heard, now);
                    let standing = &heard.standing;
                    let judged = fitness::judge(standing, record, &terms, planned, recent, young);
                    let first = |()| match self.wanted {
                        Some(_) => Ok(()),
                        None => self.waits_for_owner(record, heard, now),
                    };
                    let unfit = judged.and_then(first).err();
                    let unfit = unfit.filter(|unfit| !passes(unfit, &heard.standing));
                    unfit.map(|unfit| unfit.to_string())
                }
                None => {
                    let standing = &heard.standing;
                    let whys = [&standing.unready, &standing.rests, &standing.unlinked];
                    whys.into_iter().flatten().next().cloned()
                }
            }
        };
        let members = terms.members.iter();
        members.map(|node| (node.clone(), why(node))).collect()
    }
}
