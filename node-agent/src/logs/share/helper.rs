//! The helper process of deliveries: writes to the share, which may hang, so that the agent need not.
//!
//! This same program, started again as `interlock-agent deliver-logs SPOOL DIR NODE`. A write to a dead server may block in
//! state D, where not even SIGKILL reaches. In a thread of the agent that would keep the agent from ending, with all its files
//! and locks, and so its successor from beginning. A process of its own holds nothing of the agent's.
//!
//! It says each line of JSON ([`Said`]) on standard output when something has reached the share, and at its end. Nobody there to
//! read it is its end, too. One helper works on a spool at a time: another one waits.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::delivery::deliver;

/// The first argument that makes the agent's program be this helper.
pub const WORD: &str = "deliver-logs";

/// What the helper says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Said {
    /// The share has taken something more.
    Moved,
    /// It has everything.
    Done,
    /// What could not be written, and why.
    Failed(String),
}

/// Runs the helper.
#[must_use]
pub fn helper(arguments: &[OsString]) -> ExitCode {
    let [spool, dir, node] = arguments else {
        return ExitCode::FAILURE;
    };
    let (spool, dir, node) = (Path::new(spool), Path::new(dir), node.to_string_lossy());
    let delivered =
        alone(spool).and_then(|_lock| deliver(spool, dir, &node, &mut || say(&Said::Moved)));
    let last = match delivered {
        Ok(()) => Said::Done,
        Err(why) => Said::Failed(why),
    };
    match say(&last) {
        Ok(()) => ExitCode::SUCCESS,
        // Without anybody to read it the answer does not matter.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Waits until no other helper works on this spool: one of an agent that was killed may.
fn alone(spool: &Path) -> Result<File, String> {
    let path = spool.with_extension("lock");
    let locked = File::create(&path).and_then(|lock| {
        lock.lock()?;
        Ok(lock)
    });
    locked.map_err(|error| format!("{}: {error}", path.display()))
}

fn say(said: &Said) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    let mut output = io::stdout().lock();
    output.write_all(&line)?;
    output.flush()
}
