//! What an action of a resource agent came to, in a code and in words.

use super::Code;
use super::environment::REASON;
use crate::shim::{ChildEnd, Status};

/// The longest reason, in characters: evidence is one line.
const LINE: usize = 200;

/// What an action came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its exit code; none if it did not exit by itself, or nobody saw it.
    pub code: Option<Code>,
    /// The same in words, with the agent's own reason.
    pub text: String,
}

impl Report {
    /// Of an action that ended like this, or that nobody saw end, and said this.
    pub(super) fn of(end: Option<&ChildEnd>, stdout: &str, stderr: &str) -> Self {
        let Some(end) = end else {
            return Self {
                code: None,
                text: "nobody saw its end".to_owned(),
            };
        };
        let code = match end {
            ChildEnd {
                status: Status::Code(code),
                timed_out: false,
                stopped: false,
            } => Some(Code::of(*code)),
            ChildEnd { .. } => None,
        };
        let what = code.map_or_else(|| end.to_string(), |code| code.to_string());
        // A success that has something to say has said it in a log.
        let reason = match code {
            Some(Code::Success | Code::NotRunning) => None,
            _ => reason(stdout, stderr),
        };
        let text = match reason {
            Some(reason) => format!("{what}: {reason}"),
            None => what,
        };
        Self { code, text }
    }

    /// Has the agent said that it is done?
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == Some(Code::Success)
    }
}

/// The reason that the agent gave last, else the last line that it wrote.
fn reason(stdout: &str, stderr: &str) -> Option<String> {
    let given = stderr
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix(REASON));
    let last = || {
        let lines = stdout.lines().chain(stderr.lines());
        lines.map(str::trim).rfind(|line| !line.is_empty())
    };
    let line = given.map(str::trim).or_else(last)?;
    let plain: String = line
        .chars()
        .filter(|c| !c.is_control())
        .take(LINE)
        .collect();
    Some(plain).filter(|plain| !plain.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32, timed_out: bool) -> ChildEnd {
        ChildEnd {
            status: Status::Code(code),
            timed_out,
            stopped: false,
        }
    }

    #[test]
    fn the_reason_is_the_last_one_that_the_agent_gave() {
        let stderr = "INFO: a\nocf-exit-reason:first\nnoise\nocf-exit-reason:No IP address given\nmore noise\n";
        let report = Report::of(Some(&ended(6, false)), "", stderr);
        assert_eq!(report.code, Some(Code::Configured));
        assert_eq!(report.text, "wrongly configured (6): No IP address given");
        let without = Report::of(Some(&ended(1, false)), "out\n", "\n");
        assert_eq!(without.text, "failure (1): out");
    }

    #[test]
    fn what_was_killed_or_not_seen_has_no_code() {
        let killed = Report::of(Some(&ended(0, true)), "", "");
        assert!(killed.code.is_none() && !killed.success(), "{killed:?}");
        assert_eq!(Report::of(None, "", "").code, None);
    }
}
