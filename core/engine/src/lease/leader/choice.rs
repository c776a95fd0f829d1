//! Who takes the role over, of all who may.

use interlock_model::lease::Epoch;
use interlock_model::names::NodeName;

use super::bump::Cause;
use super::event::Standing;
use super::reading::Reading;
use super::{Clock, Leader, Unfit, fitness};
use crate::lease::LeaseRecord;

impl Leader {
    /// The best node that may take over, or why there is none.
    pub(super) fn candidate(
        &self,
        reading: &Reading,
        record: &LeaseRecord,
        cause: Cause,
        now: Clock,
    ) -> Result<Standing, String> {
        let recent = self.is_recent(reading, now);
        let mut best: Option<&Standing> = None;
        let mut reasons = Vec::new();
        let terms = self.terms_after(record);
        let clean = self.is_handed_over(record, now);
        let ordered = matches!(cause, Cause::Operation(_));
        let loses_nothing = ordered || clean || self.is_owed_all(record);
        let wanted = self.wanted.as_ref().map(|(_, node)| node);
        for node in &terms.members {
            if ordered && wanted != Some(node) && !self.is_back_home(record, node) {
                continue;
            }
            let fresh = self
                .heard
                .get(node)
                .filter(|heard| now.longest_since(heard.at) < terms.timings.fence());
            let judged = fresh.map_or(Err(Unfit::Silent), |heard| {
                let (planned, young) = (loses_nothing, self.young(heard, now));
                let fit = fitness::judge(&heard.standing, record, &terms, planned, recent, young);
                let first = |()| match ordered {
                    true => Ok(()),
                    false => self.waits_for_owner(record, heard, now),
                };
                let fit = fit.and_then(first).or_else(|unfit| {
                    let accepted = self.may_lose(cause, &unfit, &heard.standing, record, now);
                    if accepted { Ok(()) } else { Err(unfit) }
                });
                fit.map(|()| &heard.standing)
            });
            match judged {
                Ok(standing) if record.holder() == Some(&standing.holder) => {
                    reasons.push(format!("{node}: it holds the role"));
                }
                Ok(standing) => {
                    // Who takes over because nobody reaches the holder is reached itself. And what may not move goes back to where it
                    // was, unless that is to be left alone as well.
                    let rank = |standing: &Standing| {
                        let node = &standing.holder.node;
                        let is_wanted = ordered && wanted == Some(node);
                        let stays = !self.automatic && standing.mark == Some(record.last_held());
                        let reached = clean && self.is_reached(node, now);
                        let rests = standing.rests.is_some();
                        let rank = rank(standing, record);
                        (is_wanted, !rests, stays, reached, rank, standing.score)
                    };
                    let better = |best: &Standing| rank(standing) > rank(best);
                    if best.is_none_or(better) {
                        best = Some(standing);
                    }
                }
                Err(unfit) => reasons.push(format!("{node}: {unfit}")),
            }
        }
        best.cloned().ok_or_else(|| reasons.join("; "))
    }

    /// Has this node given the role back, and could not say how far it had written? Then nobody else can be proven to have all of
    /// it, and what an operation has asked for goes back to where it was.
    fn is_back_home(&self, record: &LeaseRecord, node: &NodeName) -> bool {
        let heard = self.heard.get(node);
        let was_primary =
            heard.is_some_and(|heard| heard.standing.mark == Some(record.last_held()));
        let is_free = record.is_owed() && record.holder().is_none();
        // Where everybody has everything, nobody has to say how far it had written.
        is_free && record.ended_at().is_none() && was_primary && !fitness::is_with_everybody(record)
    }
}

/// How good a candidate is among those that are fit. Whose data goes farthest; where all have every write, who was not
/// primary last: that one has given the role back, and may be unable to keep it.
fn rank(standing: &Standing, record: &LeaseRecord) -> (bool, Option<Epoch>, Option<u64>) {
    let mut members = record.terms().members.iter();
    if members.all(|node| record.synchrony().covers(node)) {
        (standing.mark != Some(record.last_held()), None, None)
    } else {
        (false, standing.mark, standing.position)
    }
}
