//! What the programs that run all the time log, and how it is chosen.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The variable that says what is logged if the command line (`--log`) does not.
pub const VARIABLE: &str = "INTERLOCK_LOG";

/// A text that does not say what is logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{set} '{log}' is no filter: {why}; write it as in info or warn,TARGET=debug")]
pub struct BadFilter {
    /// What was set.
    set: &'static str,
    log: String,
    why: String,
}

/// Logs from now on to standard error what `log` says, as in `info` or `warn,interlock_mesh=debug`.
///
/// # Errors
/// If `log` says nothing that can be logged.
pub fn start(log: &str) -> Result<(), BadFilter> {
    let filter = filter(log, std::env::var(VARIABLE).ok().as_deref())?;
    let lines = tracing_subscriber::fmt::layer()
        .compact()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // Not the filter with regular expressions: a megabyte of program for what nobody types.
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
    Ok(())
}

/// Levels, and levels of targets. [`Targets`] alone takes a word that is no level for a target, and logs of nothing else: a
/// slip such as `inof` would leave no log.
///
/// An error names what was set. The flag goes before the variable, so the variable is meant only if it says the same.
fn filter(log: &str, variable: Option<&str>) -> Result<Targets, BadFilter> {
    let refused = |why: String| BadFilter {
        set: if variable == Some(log) {
            VARIABLE
        } else {
            "--log"
        },
        log: log.to_owned(),
        why,
    };
    // An empty text would be a level, too.
    let is_level = |level: &str| !level.is_empty() && level.parse::<LevelFilter>().is_ok();
    let mut levels = log
        .split(',')
        .map(|part| part.split_once('=').map_or(part, |(_, level)| level));
    match levels.find(|level| !is_level(level)) {
        Some(other) => Err(refused(format!(
            "'{other}' is none of off, error, warn, info, debug and trace"
        ))),
        None => log
            .parse()
            .map_err(|error: tracing_subscriber::filter::ParseError| refused(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused_by_the_name_of_what_was_set() {
        for log in ["info", "off", "warn,interlock_mesh::server=debug"] {
            assert!(filter(log, None).is_ok(), "{log}");
        }
        for log in ["inof", "", "warn,", "a=", "a=inof"] {
            let said = filter(log, None).unwrap_err().to_string();
            assert!(
                said.starts_with(&format!("--log '{log}' is no filter")),
                "{said}"
            );
            let said = filter(log, Some("info")).unwrap_err().to_string();
            assert!(said.starts_with("--log"), "{said}");
            let said = filter(log, Some(log)).unwrap_err().to_string();
            assert!(said.starts_with("INTERLOCK_LOG"), "{said}");
        }
    }
}
