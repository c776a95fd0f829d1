//! Exit codes: what a script can tell without reading.
//!
//! The same table is in the help (`interlockctl --help`) and in `docs/exit-codes.md`; a test holds the three together.

use std::process::ExitCode;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and proven where there is something to prove.
    Ok,
    /// Something broke that is neither the caller's nor the cluster's: what cannot be written, an internal error.
    Failed,
    /// What was asked for is refused or invalid; nothing was changed.
    Refused,
    /// No coordinator, or not the agent that was named, can be reached.
    Unreachable,
    /// The operation needs attention: it can go neither on nor back by itself.
    NeedsAttention,
    /// No plan can be made; the report says why.
    NoPlan,
    /// The operation is over without being done: aborted or unwound.
    NotDone,
    /// No step is needed, or none is left, and yet not everything in the scope is proven or well.
    NotWell,
    /// Something was collected, and not all of it.
    Incomplete,
    /// The command line is wrong.
    Usage,
    /// Ctrl-C: this command ended, the operation goes on.
    Detached,
}

impl Exit {
    /// Every way to end, with its code and meaning, in the order of the codes.
    pub(crate) const ALL: [(Self, u8, &'static str); 11] = [
        (
            Self::Ok,
            0,
            "done; for an operation: every step done and proven",
        ),
        (
            Self::Failed,
            1,
            "failed: what cannot be written, an internal error; the message says which",
        ),
        (
            Self::Refused,
            2,
            "refused, or invalid, as a file that cannot be read: nothing was changed",
        ),
        (
            Self::Unreachable,
            3,
            "cannot reach a coordinator, or the agent that was named",
        ),
        (
            Self::NeedsAttention,
            4,
            "the operation needs attention; the message has the commands to go on",
        ),
        (Self::NoPlan, 5, "no plan is possible; the report says why"),
        (
            Self::NotDone,
            6,
            "the operation is over without being done: aborted or unwound",
        ),
        (
            Self::NotWell,
            7,
            "nothing is left to do, but not everything is proven or well; the message says what",
        ),
        (
            Self::Incomplete,
            8,
            "collected, but not everything; the result names what is missing and why",
        ),
        (Self::Usage, 64, "wrong usage"),
        (
            Self::Detached,
            130,
            "ended by Ctrl-C; an operation that was followed goes on",
        ),
    ];

    /// The code that the shell sees.
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(self.number())
    }

    /// The same as a number.
    pub(crate) fn number(self) -> u8 {
        let code = Self::ALL.into_iter().find(|(exit, _, _)| *exit == self);
        code.map_or(1, |(_, code, _)| code)
    }

    /// The table for the end of the help.
    pub(crate) fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for (_, code, meaning) in Self::ALL {
            text.push_str(&format!("  {code:>3}  {meaning}\n"));
        }
        text
    }
}
