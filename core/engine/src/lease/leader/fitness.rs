//! Whether a standby may take over by itself (safety rules D1, E2, E6, E17).

use std::time::Duration;

use interlock_model::lease::{Epoch, Shortfall, Synchrony, Terms};
use interlock_model::names::NodeName;

use super::event::Standing;
use crate::lease::LeaseRecord;

/// Why it may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It has not been heard of lately.
    #[error("it has not been heard of lately")]
    Silent,
    /// It is no member.
    #[error("it is no member")]
    NoMember,
    /// It knows less than it once said.
    #[error(
        "it knows less than it once said, so its disk went back: clear it when you have looked"
    )]
    Quarantined,
    /// It is in the middle of something.
    #[error("it is not idle")]
    Busy,
    /// Its agent says that it could not be promoted.
    #[error("{0}")]
    Unready(String),
    /// Nobody would reach an address of the role there, as its agent says.
    #[error("{0}")]
    Unlinked(String),
    /// It has promised a peer not to become primary.
    #[error("it has promised a peer that cannot reach the coordinators not to become primary")]
    Promised,
    /// It was primary before, somebody else was since, and it was never made to follow.
    #[error("it was primary in {mark}, and its data was not made to follow {since} since")]
    NotRejoined {
        /// When it was.
        mark: Epoch,
        /// The last epoch in which somebody was.
        since: Epoch,
    },
    /// Writes were acknowledged that others have waited for, and it has not.
    #[error("writes waited for others and not for it")]
    NotSynchronous,
    /// It was primary last, or writes have waited for it, and its data ends before what it has once said to have.
    #[error("its data ends before what it has said to have on disk: its disk is an older one")]
    OlderThanItself,
    /// Its data may be of another line than those of the last primary: how far they go says nothing.
    #[error("its data were not seen to follow {since}")]
    NotFollowing {
        /// The last epoch in which somebody was primary.
        since: Epoch,
    },
    /// Its machine has just been started, and who was primary last may be about to come up.
    #[error(
        "its machine has just been started, and it is not proven to have everything: it waits for {} more for who was primary last \
         (boot_dead)",
        whole(*.0)
    )]
    JustStarted(Duration),
    /// So has that of who was primary last, and it is heard.
    #[error("{owner} was primary last, and both were restarted: it is waited for, for {} more (boot_dead)", whole(*.left))]
    OwnerFirst {
        /// Who was.
        owner: NodeName,
        /// For how long.
        left: Duration,
    },
    /// Nobody knows what it lacks.
    #[error("nobody knows how far it is behind")]
    UnknownLag,
    /// It lacks too much.
    #[error("it is {lag} behind, more than {limit}")]
    Behind {
        /// By so much.
        lag: u64,
        /// The limit of the terms.
        limit: u64,
    },
}

/// In whole seconds, as people are told.
fn whole(left: Duration) -> String {
    format!("{}s", left.as_secs().max(1))
}

/// Looks at what a node says of itself against the record. A planned move may lose nothing. The position of the last renewal
/// counts only if it is `recent`: a primary that goes on without coordinators writes on, and nobody knows how much. While its machine
/// is `young`, for so long, it takes over only what it is proven to have. Whether it was heard of lately is the caller's to know.
pub(super) fn judge(
    standing: &Standing,
    record: &LeaseRecord,
    terms: &Terms,
    planned: bool,
    recent: bool,
    young: Option<Duration>,
) -> Result<(), Unfit> {
    let node = &standing.holder.node;
    if !terms.members.contains(node) {
        return Err(Unfit::NoMember);
    }
    if is_behind_itself(standing, record) || record.quarantined().contains(node) {
        return Err(Unfit::Quarantined);
    }
    if standing.promised {
        return Err(Unfit::Promised);
    }
    if !standing.idle || standing.holding.is_some() {
        return Err(Unfit::Busy);
    }
    // Before what else it lacks: who gave the role back for it is stopped as well.
    if let Some(why) = &standing.unlinked {
        return Err(Unfit::Unlinked(why.clone()));
    }
    if let Some(why) = &standing.unready {
        return Err(Unfit::Unready(why.clone()));
    }
    // A role that somebody was asked for has to be somewhere.
    if let Some(why) = &standing.rests
        && !record.is_owed()
    {
        return Err(Unfit::Unready(why.clone()));
    }
    let since = record.last_held();
    match standing.mark {
        // It was the last one: nobody has more, unless its disk is older than what it has once said.
        Some(mark) if mark == since => {
            let lost = record.position() > standing.position;
            return if lost {
                Err(Unfit::OlderThanItself)
            } else {
                Ok(())
            };
        }
        Some(mark) => return Err(Unfit::NotRejoined { mark, since }),
        None => {}
    }
    if since == Epoch::NONE || is_with_everybody(record) {
        return Ok(());
    }
    // What it has received is of use only if it is what the last primary wrote: a copy that was never completed has received
    // as well, beside data of another line.
    if standing.follows != since {
        return Err(Unfit::NotFollowing { since });
    }
    let ended = record.ended_at();
    // Commits may have been told not to wait, session by session: a planned move goes by what is there.
    let by_position = planned && ended.is_some();
    if record.synchrony().covers(node) && !by_position {
        // As far as it was known to have what was written (see `Holder::says_waits`), it has it still, or this is not what it had.
        let lost = record.position() > standing.position;
        return if lost {
            Err(Unfit::OlderThanItself)
        } else {
            Ok(())
        };
    }
    // Who has given the role back and could not say how far it had written may have written since it last renewed.
    let given_back = record.holder().is_none() || record.is_owed();
    let told = recent && !(planned && given_back);
    let known = ended
        .or(record.position().filter(|_| told))
        .zip(standing.position);
    let (written, position) = known.ok_or(Unfit::UnknownLag)?;
    let lag = written.saturating_sub(position);
    if lag == 0 && ended.is_some() {
        return Ok(());
    }
    if !by_position && *record.synchrony() != Synchrony::Off {
        return Err(Unfit::NotSynchronous);
    }
    let limit = if planned { 0 } else { terms.max_lag };
    if lag > limit {
        return Err(Unfit::Behind { lag, limit });
    }
    young.map_or(Ok(()), |left| Err(Unfit::JustStarted(left)))
}

/// What would be lost if it took over all the same; none if that is not what stands against it.
pub(super) fn shortfall(
    unfit: &Unfit,
    standing: &Standing,
    record: &LeaseRecord,
) -> Option<Shortfall> {
    match unfit {
        // How far its data go says nothing.
        Unfit::NotFollowing { .. } => Some(Shortfall::Unknown),
        Unfit::UnknownLag
        | Unfit::NotSynchronous
        | Unfit::Behind { .. }
        | Unfit::JustStarted(_) => {
            let lacks = |written: u64| Some(written.saturating_sub(standing.position?));
            let exactly = record.ended_at().and_then(lacks).map(Shortfall::Exactly);
            let at_least = || record.position().and_then(lacks).map(Shortfall::AtLeast);
            Some(exactly.or_else(at_least).unwrap_or(Shortfall::Unknown))
        }
        _ => None,
    }
}

/// Was what was written last with every member at once? Where there are data, writes wait for others and never for the one
/// who writes; where there are none, nothing can be missing anywhere, and nobody is ever seen to follow.
pub(super) fn is_with_everybody(record: &LeaseRecord) -> bool {
    let covers = |node: &NodeName| record.synchrony().covers(node);
    record.terms().members.iter().all(covers) || record.last_primary().is_some_and(covers)
}

/// Does it know less than it has once said? Then its disk went back.
pub(super) fn is_behind_itself(standing: &Standing, record: &LeaseRecord) -> bool {
    standing.reverted || record.witnessed(&standing.holder.node) > standing.seen
}
