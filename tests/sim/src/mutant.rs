//! Rules, taken away one at a time.
//!
//! An invariant that cannot fail proves nothing. Each mutant breaks one rule in the shell around the core, as a careless
//! program would; a seed must find it, and the invariant that the rule stands for must be the one that says so. Nothing
//! that ships knows of any of this.

use interlock_engine::coordinator::FromAgent;
use interlock_model::time::Now;

use crate::invariants::Number;

/// A rule that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A coordinator sends before what it has written is durable.
    SendsBeforeDurable,
    /// An agent acts and tells before its ledger is durable.
    ActsBeforeDurable,
    /// An agent starts with an empty ledger.
    ForgetsLedger,
    /// An agent says of every unknown outcome that it may be repeated.
    RepeatsUnknown,
    /// An agent obeys whoever speaks, in whatever term.
    ObeysOldTerms,
    /// An agent forgets at a restart which term it has obeyed.
    ForgetsTerm,
    /// An agent stops what is on its node when it hears no coordinator.
    StopsInSilence,
    /// A coordinator takes a node whose session ended for switched off.
    TakesSilenceForDown,
    /// An agent answers a probe with what it saw some time ago, as if it were new.
    SellsOldResults,
    /// A coordinator dates a result by the time of its arrival, whatever question its probe has followed.
    DatesByArrival,
    /// An agent that cannot tell says that all is well.
    TakesUnknownForOk,
    /// A coordinator forgets at a restart which operations are under way.
    ForgetsOperations,
    /// A coordinator makes the plan anew at a restart, without a look at what was shown.
    PlansAnew,
    /// A coordinator forgets at a restart which sides were active.
    ForgetsActivity,
    /// An agent says of an attempt that it never saw it, and does not remember that it has said so.
    AnswersWithoutClosing,
    /// An agent forgets at a restart what is over, and that it is over.
    ForgetsWhatIsOver,
    /// A coordinator takes a term that agents have heard from another one.
    SharesTerm,
    /// A coordinator does not look at what an agent remembers of operations before it believes what it says of them.
    TrustsStrangers,
    /// A store makes half of a transaction durable when its coordinator dies.
    TearsTransactions,
    /// An attempt begins on an instance while the guard is bringing it up.
    LeavesGuardAtWork,
    /// A guard does not ask whether an attempt is open, and goes by what it knew before.
    GuardsDuringAttempts,
    /// A guard brings up whatever is down.
    GuardsTheUnwanted,
    /// A guard has a whole budget again when its agent is started again.
    ForgetsGuards,
    /// An agent says of what runs and nobody has asked it to run that it is stopped.
    HidesWhatRuns,
    /// An agent says of a load balancer that it has drained a member, and has not told it.
    DrainsInName,
    /// An agent says of a file that it has written it, and has not.
    WritesInName,
    /// An agent says of a file that it is as it was, and has not put it back.
    RestoresInName,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::SendsBeforeDurable,
        Self::ActsBeforeDurable,
        Self::ForgetsLedger,
        Self::RepeatsUnknown,
        Self::ObeysOldTerms,
        Self::ForgetsTerm,
        Self::StopsInSilence,
        Self::TakesSilenceForDown,
        Self::SellsOldResults,
        Self::DatesByArrival,
        Self::TakesUnknownForOk,
        Self::ForgetsOperations,
        Self::PlansAnew,
        Self::ForgetsActivity,
        Self::AnswersWithoutClosing,
        Self::ForgetsWhatIsOver,
        Self::SharesTerm,
        Self::TrustsStrangers,
        Self::TearsTransactions,
        Self::LeavesGuardAtWork,
        Self::GuardsDuringAttempts,
        Self::GuardsTheUnwanted,
        Self::ForgetsGuards,
        Self::HidesWhatRuns,
        Self::DrainsInName,
        Self::WritesInName,
        Self::RestoresInName,
    ];

    /// The rule that it breaks.
    #[must_use]
    pub fn breaks(self) -> Number {
        match self {
            Self::SellsOldResults | Self::DatesByArrival | Self::TakesUnknownForOk => Number::I2,
            Self::SendsBeforeDurable | Self::ActsBeforeDurable => Number::I3,
            Self::ForgetsLedger | Self::RepeatsUnknown => Number::I4,
            Self::TakesSilenceForDown => Number::I5,
            Self::StopsInSilence => Number::I6,
            Self::ObeysOldTerms | Self::ForgetsTerm => Number::I7,
            Self::ForgetsOperations => Number::I8,
            Self::PlansAnew => Number::I9,
            Self::ForgetsActivity => Number::I10,
            Self::SharesTerm | Self::TrustsStrangers => Number::E11,
            Self::AnswersWithoutClosing => Number::X1,
            Self::LeavesGuardAtWork | Self::GuardsDuringAttempts => Number::X2,
            Self::ForgetsWhatIsOver => Number::X3,
            Self::TearsTransactions => Number::X4,
            Self::GuardsTheUnwanted | Self::ForgetsGuards => Number::Guard,
            Self::HidesWhatRuns => Number::Under,
            Self::DrainsInName => Number::Members,
            Self::WritesInName | Self::RestoresInName => Number::Files,
        }
    }
}

/// A message whose results are as old as they were when they were sent, and answer whatever was asked before that.
pub(crate) fn dated_by_arrival(mut message: FromAgent, now: Now) -> FromAgent {
    if let FromAgent::Observed { checks, .. } = &mut message {
        for check in checks {
            let seen = now.mono.saturating_sub(check.age).as_nanos();
            check.after = u64::try_from(seen).unwrap_or(u64::MAX);
        }
    }
    message
}
