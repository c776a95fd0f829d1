//! How every member stands as a candidate: for people, who ask why it was this one and not the other.

use std::collections::BTreeMap;

use interlock_model::names::NodeName;

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

    /// Of each member, why the role could not be moved there on purpose; nothing if it could.
    #[must_use]
    pub fn movable(&self, now: Clock) -> BTreeMap<NodeName, Option<String>> {
        self.judged(now, |unfit, standing| self.follows_on(unfit, standing, now))
    }

    /// Is that nothing but what was written within the last seconds? A planned move waits for all that was written, so who has as
    /// much as the primary had some seconds ago is not too far behind, whatever was written since: in what unit a log is counted
    /// does not matter.
    fn follows_on(&self, unfit: &Unfit, standing: &Standing, now: Clock) -> bool {
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
            let unfit = fitness::judge(standing, record, terms, true, recent).err();
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
        let terms = record.map_or(&self.config.terms, |(record, _)| self.terms_after(record));
        let read = self.reading.as_ref().map(Reading::at);
        let is_old = |at| now.longest_since(at) >= self.timings().life();
        let unread = read.is_some_and(is_old);
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
                    let planned = self.wanted.is_some() || self.is_handed_over(record, now);
                    let judged = fitness::judge(&heard.standing, record, terms, planned, recent);
                    let unfit = judged.err();
                    let unfit = unfit.filter(|unfit| !passes(unfit, &heard.standing));
                    unfit.map(|unfit| unfit.to_string())
                }
                None => {
                    let standing = &heard.standing;
                    standing
                        .unready
                        .clone()
                        .or_else(|| standing.unlinked.clone())
                }
            }
        };
        let members = terms.members.iter();
        members.map(|node| (node.clone(), why(node))).collect()
    }
}
