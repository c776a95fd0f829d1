//! What a fence agent's end means, and what of its words is shown.

use super::request::OptionValue;
use super::secret::redact;
use super::{Action, Plug, PowerState, Reply};
use crate::group::{End, Finished};

/// The longest evidence, in characters.
pub(super) const EVIDENCE: usize = 300;

/// Exit code of `status` for a plug that is off (fence agent API).
const STATUS_OFF: i32 = 2;

/// What an exit code means; `None` is a failure. Only `status` gives a meaning to anything but 0.
pub(super) fn reply(action: Action, code: i32, stdout: &[u8]) -> Option<Reply> {
    match (action, code) {
        (Action::On | Action::Status, 0) => Some(Reply::Power(PowerState::On)),
        (Action::Off, 0) | (Action::Status, STATUS_OFF) => Some(Reply::Power(PowerState::Off)),
        (Action::Monitor, 0) => Some(Reply::Works),
        (Action::List, 0) => Some(plugs(&String::from_utf8_lossy(stdout))),
        _ => None,
    }
}

/// One `plug,alias` a line; the alias may be missing and may have commas itself.
///
/// An agent whose metadata offers `list` need not have one: `fencing.py` (`fence_action`) then prints `N/A`, for a device
/// with one outlet, or a line that begins with `NOTICE:`, and ends with 0.
fn plugs(text: &str) -> Reply {
    let line = |line: &str| {
        let (plug, alias) = line.split_once(',').unwrap_or((line, ""));
        let alias = Some(alias.trim().to_owned()).filter(|alias| !alias.is_empty());
        Plug {
            plug: plug.trim().to_owned(),
            alias,
        }
    };
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .collect();
    match lines.as_slice() {
        ["N/A"] => Reply::NoPlugs,
        [notice] if notice.starts_with("NOTICE:") => Reply::NoPlugs,
        lines => Reply::Plugs(lines.iter().copied().map(line).collect()),
    }
}

pub(super) fn describe(end: &End) -> String {
    match end {
        End::Exited(code) => format!("exit code {code}"),
        End::Signalled(signal) => format!("killed by signal {signal}"),
        End::TimedOut => "killed at its limit".to_owned(),
        End::Undead(_) => "not dying at its limit".to_owned(),
    }
}

/// The end of what the agent printed, on one line, without secrets.
pub(super) fn evidence<'v>(
    done: &Finished,
    options: impl Iterator<Item = &'v OptionValue>,
) -> String {
    let printed = if done.stderr.is_empty() {
        &done.stdout
    } else {
        &done.stderr
    };
    let text = redact(
        &String::from_utf8_lossy(printed),
        options.filter_map(OptionValue::secret),
    );
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    let line: String = lines
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let surplus = line.chars().count().saturating_sub(EVIDENCE);
    match (line.is_empty(), surplus) {
        (true, _) => "it printed nothing".to_owned(),
        (false, 0) => line,
        // The last lines are the ones that say what went wrong.
        (false, _) => format!("...{}", line.chars().skip(surplus).collect::<String>()),
    }
}
