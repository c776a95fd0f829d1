//! Rules, taken away one at a time.
//!
//! Each mutant is a shell that does not keep one rule of the safety argument, as a careless program would not: it lies to
//! a machine, ignores an effect, or leaves a condition out. A seed of the mutant's kind must find it, and the shipping code
//! must pass the very same seed.

use super::oracle::Rule;
use super::setup::Kind;

/// A rule that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// E1: the leader takes `hold` for `demote`.
    ExpiresHolders,
    /// E2: a peer agrees and promises nothing.
    PromisesNothing,
    /// E2: the promise of one member is taken for that of all.
    TakesOneForAll,
    /// E2: an agent that starts takes itself for one that has promised nothing.
    ForgetsPromises,
    /// E2: an epoch that nobody has answered is followed by one among the members of the spec, who have promised nothing.
    TakesNewMembers,
    /// E3: the leader counts what a watch shows, and bumps by the epoch alone.
    CountsFromWatch,
    /// E4: an agent says that a watchdog is armed where there is none.
    ClaimsWatchdog,
    /// E4: other timings are accepted that the device does not suit, so it is disarmed before the record says so.
    DisarmsFirst,
    /// E4: nobody's sight of a writable primary is told to the leader.
    IgnoresSightings,
    /// E5: a command is taken for a right.
    TakesCommandForRight,
    /// E5: what is lost during a promotion ends the action, not the instance.
    StopsTheActionOnly,
    /// E6: a pause is accepted that nobody accepted.
    AcceptsPauses,
    /// E6: a node whose disk went back is believed.
    TrustsReverted,
    /// E7: the watchdog is petted as long as the agent runs.
    PetsAlways,
    /// E8: the leader counts by the spec.
    CountsBySpec,
    /// E8: renewals are taken in any order.
    TakesRenewalsInAnyOrder,
    /// E8: nobody remembers under which terms the role was last kept.
    ForgetsProven,
    /// E9: a proof for any epoch is taken for one for this epoch.
    TakesAnyProof,
    /// E10: nobody looks whether a dead database left something behind.
    LeavesOrphans,
    /// E10: a guard starts the database again while the role is given back.
    RestartsDuringRelease,
    /// E11: the leader acts on a store that went back.
    IgnoresIncarnation,
    /// E12: an agent that starts takes the lease for new.
    TakesLeaseForNew,
    /// E12, the agent's own pauses: what waited is handled as if it were still then.
    HandlesLateAsThen,
    /// E13: timings as if clocks did not err.
    TrustsClocks,
    /// E13: one clock is trusted.
    TrustsOneClock,
    /// E14: a stop that is not done in time is waited for.
    NeverResets,
    /// E15: timings that do not survive an election of the store.
    IgnoresElections,
    /// E16: the debugging door.
    OpensTheDoor,
    /// E17: nobody writes down who was primary.
    ForgetsWhoWasPrimary,
    /// Whoever was asked for its role has given it back, and nobody remembers that it was asked.
    ForgetsHandOvers,
    /// What went back to where it was is asked for again, by the same operation.
    AsksAgain,
    /// D1: a role that was given back for an operation may lose what a failover may.
    LosesInMoves,
    /// E18: automation acts while an operation holds the service.
    IgnoresClaims,
    /// D1: each move on purpose may lose what it likes, and no person has said so.
    LosesUnasked,
    /// D1: a machine that has just been started takes over like any other.
    ForgetsBoots,
    /// D1: acknowledges without waiting before the record says so.
    DegradesFirst,
    /// D1: a lag that nobody knows is none.
    TakesUnknownForNone,
    /// X2: a fence call that failed is taken for one that did it.
    TakesFailedFence,
    /// I6: a machine is switched off on one signal, and nobody else is asked.
    FencesOnOneSignal,
    /// D1, D3: data are said to follow whoever is primary, and nobody has looked.
    ClaimsToFollow,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 40] = [
        Self::ExpiresHolders,
        Self::PromisesNothing,
        Self::TakesOneForAll,
        Self::ForgetsPromises,
        Self::TakesNewMembers,
        Self::CountsFromWatch,
        Self::ClaimsWatchdog,
        Self::DisarmsFirst,
        Self::IgnoresSightings,
        Self::TakesCommandForRight,
        Self::StopsTheActionOnly,
        Self::AcceptsPauses,
        Self::TrustsReverted,
        Self::PetsAlways,
        Self::CountsBySpec,
        Self::TakesRenewalsInAnyOrder,
        Self::ForgetsProven,
        Self::TakesAnyProof,
        Self::LeavesOrphans,
        Self::RestartsDuringRelease,
        Self::IgnoresIncarnation,
        Self::TakesLeaseForNew,
        Self::HandlesLateAsThen,
        Self::TrustsClocks,
        Self::TrustsOneClock,
        Self::NeverResets,
        Self::IgnoresElections,
        Self::OpensTheDoor,
        Self::ForgetsWhoWasPrimary,
        Self::IgnoresClaims,
        Self::ForgetsHandOvers,
        Self::AsksAgain,
        Self::LosesInMoves,
        Self::LosesUnasked,
        Self::ForgetsBoots,
        Self::DegradesFirst,
        Self::TakesUnknownForNone,
        Self::ClaimsToFollow,
        Self::TakesFailedFence,
        Self::FencesOnOneSignal,
    ];

    /// The rule of the safety argument that it breaks.
    #[must_use]
    pub fn breaks(self) -> &'static str {
        match self {
            Self::ExpiresHolders => "E1",
            Self::PromisesNothing
            | Self::TakesOneForAll
            | Self::ForgetsPromises
            | Self::TakesNewMembers => "E2",
            Self::CountsFromWatch => "E3",
            Self::ClaimsWatchdog | Self::DisarmsFirst | Self::IgnoresSightings => "E4",
            Self::TakesCommandForRight | Self::StopsTheActionOnly => "E5",
            Self::AcceptsPauses | Self::TrustsReverted => "E6",
            Self::PetsAlways => "E7",
            Self::CountsBySpec | Self::TakesRenewalsInAnyOrder | Self::ForgetsProven => "E8",
            Self::TakesAnyProof => "E9",
            Self::LeavesOrphans | Self::RestartsDuringRelease => "E10",
            Self::IgnoresIncarnation => "E11",
            Self::TakesLeaseForNew | Self::HandlesLateAsThen => "E12",
            Self::TrustsClocks | Self::TrustsOneClock => "E13",
            Self::NeverResets => "E14",
            Self::IgnoresElections => "E15",
            Self::OpensTheDoor => "E16",
            Self::ForgetsWhoWasPrimary => "E17",
            Self::IgnoresClaims | Self::ForgetsHandOvers | Self::AsksAgain => "E18",
            Self::ForgetsBoots
            | Self::LosesInMoves
            | Self::LosesUnasked
            | Self::DegradesFirst
            | Self::TakesUnknownForNone
            | Self::ClaimsToFollow => "D1",
            Self::TakesFailedFence => "X2",
            Self::FencesOnOneSignal => "I6",
        }
    }

    /// The faults that it needs.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::ExpiresHolders | Self::TakesFailedFence | Self::FencesOnOneSignal => Kind::Hold,
            Self::PromisesNothing | Self::TakesOneForAll | Self::ForgetsPromises => Kind::Failsafe,
            Self::TakesNewMembers => Kind::Joins,
            Self::ForgetsProven => Kind::Required,
            Self::ForgetsHandOvers | Self::AsksAgain | Self::LosesInMoves => Kind::Moves,
            Self::AcceptsPauses => Kind::Pauses,
            Self::TrustsReverted => Kind::Reverts,
            Self::IgnoresIncarnation => Kind::Restores,
            Self::IgnoresElections => Kind::Hiccups,
            Self::NeverResets => Kind::Blind,
            Self::IgnoresSightings => Kind::Seen,
            Self::CountsFromWatch
            | Self::DisarmsFirst
            | Self::PetsAlways
            | Self::CountsBySpec
            | Self::TakesRenewalsInAnyOrder
            | Self::TakesLeaseForNew
            | Self::HandlesLateAsThen
            | Self::TrustsClocks
            | Self::TrustsOneClock
            | Self::TakesCommandForRight => Kind::Cuts,
            Self::StopsTheActionOnly
            | Self::LeavesOrphans
            | Self::RestartsDuringRelease
            | Self::OpensTheDoor
            | Self::ForgetsWhoWasPrimary
            | Self::IgnoresClaims
            | Self::LosesUnasked
            | Self::DegradesFirst
            | Self::TakesUnknownForNone
            | Self::ClaimsToFollow => Kind::Deaths,
            Self::ClaimsWatchdog | Self::TakesAnyProof | Self::ForgetsBoots => Kind::Usual,
        }
    }

    /// What the oracle must say.
    #[must_use]
    pub fn shows(self) -> Rule {
        match self {
            Self::TrustsReverted => Rule::Quarantine,
            Self::IgnoresElections => Rule::Hiccup,
            Self::ForgetsWhoWasPrimary | Self::ClaimsToFollow => Rule::History,
            Self::IgnoresClaims => Rule::Claim,
            Self::FencesOnOneSignal => Rule::Reached,
            Self::ForgetsBoots => Rule::Young,
            Self::ForgetsHandOvers | Self::ForgetsProven => Rule::Liveness,
            Self::AsksAgain => Rule::Once,
            Self::LosesInMoves
            | Self::LosesUnasked
            | Self::DegradesFirst
            | Self::TakesUnknownForNone => Rule::NoLoss,
            _ => Rule::OneWriter,
        }
    }
}
