//! What the exit codes of resource agents mean.

use std::fmt;

/// An exit code of a resource agent (OCF Resource Agent API 1.1, section "Return Codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 0: done; of a monitor: it runs.
    Success,
    /// 1: it failed, or it is not known what is the matter.
    Generic,
    /// 2: parameters that are wrong on this node.
    Arguments,
    /// 3: the agent does not have this action.
    Unimplemented,
    /// 4: not permitted.
    Permission,
    /// 5: the software is not installed here.
    Installed,
    /// 6: parameters that are wrong everywhere.
    Configured,
    /// 7: cleanly stopped.
    NotRunning,
    /// 8: it runs, and is promoted.
    RunningPromoted,
    /// 9: it is promoted, and failed.
    FailedPromoted,
    /// 190: it works, and may fail soon.
    Degraded,
    /// 191: the same, promoted.
    DegradedPromoted,
    /// Any other: a failure.
    Other(i32),
}

impl Code {
    /// The code of a number.
    #[must_use]
    pub fn of(number: i32) -> Self {
        match number {
            0 => Self::Success,
            1 => Self::Generic,
            2 => Self::Arguments,
            3 => Self::Unimplemented,
            4 => Self::Permission,
            5 => Self::Installed,
            6 => Self::Configured,
            7 => Self::NotRunning,
            8 => Self::RunningPromoted,
            9 => Self::FailedPromoted,
            190 => Self::Degraded,
            191 => Self::DegradedPromoted,
            other => Self::Other(other),
        }
    }

    /// Of a monitor: is it promoted, and works?
    #[must_use]
    pub fn is_promoted(self) -> bool {
        matches!(self, Self::RunningPromoted | Self::DegradedPromoted)
    }

    /// Of a monitor: does it run?
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(
            self,
            Self::Success | Self::RunningPromoted | Self::Degraded | Self::DegradedPromoted
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Success => "success (0)",
            Self::Generic => "failure (1)",
            Self::Arguments => "wrong on this node (2)",
            Self::Unimplemented => "no such action (3)",
            Self::Permission => "not permitted (4)",
            Self::Installed => "not installed (5)",
            Self::Configured => "wrongly configured (6)",
            Self::NotRunning => "not running (7)",
            Self::RunningPromoted => "promoted (8)",
            Self::FailedPromoted => "promoted and failed (9)",
            Self::Degraded => "degraded (190)",
            Self::DegradedPromoted => "promoted and degraded (191)",
            Self::Other(number) => return write!(f, "failure ({number})"),
        })
    }
}
