//! Signals by name, as configuration files and records spell them.

use std::fmt;
use std::str::FromStr;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

/// A signal that asks a process to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StopSignal {
    /// SIGTERM.
    Term,
    /// SIGINT: PostgreSQL's fast shutdown.
    Int,
    /// SIGQUIT: nginx's graceful shutdown.
    Quit,
    /// SIGHUP.
    Hup,
    /// SIGUSR1: HAProxy's soft stop.
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGWINCH: Apache's graceful stop.
    Winch,
    /// SIGKILL: no grace at all.
    Kill,
}

/// A text is not the name of such a signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a stop signal: use TERM, INT, QUIT, HUP, USR1, USR2, WINCH or KILL")]
pub struct BadSignal(String);

impl StopSignal {
    const ALL: [Self; 8] = [
        Self::Term,
        Self::Int,
        Self::Quit,
        Self::Hup,
        Self::Usr1,
        Self::Usr2,
        Self::Winch,
        Self::Kill,
    ];

    /// The name without `SIG`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Quit => "QUIT",
            Self::Hup => "HUP",
            Self::Usr1 => "USR1",
            Self::Usr2 => "USR2",
            Self::Winch => "WINCH",
            Self::Kill => "KILL",
        }
    }

    pub(crate) fn raw(self) -> Signal {
        match self {
            Self::Term => Signal::TERM,
            Self::Int => Signal::INT,
            Self::Quit => Signal::QUIT,
            Self::Hup => Signal::HUP,
            Self::Usr1 => Signal::USR1,
            Self::Usr2 => Signal::USR2,
            Self::Winch => Signal::WINCH,
            Self::Kill => Signal::KILL,
        }
    }
}

impl FromStr for StopSignal {
    type Err = BadSignal;

    fn from_str(text: &str) -> Result<Self, BadSignal> {
        let name = text.strip_prefix("SIG").unwrap_or(text);
        Self::ALL
            .into_iter()
            .find(|signal| signal.name() == name)
            .ok_or_else(|| BadSignal(text.to_owned()))
    }
}

impl TryFrom<String> for StopSignal {
    type Error = BadSignal;

    fn try_from(text: String) -> Result<Self, BadSignal> {
        text.parse()
    }
}

impl From<StopSignal> for String {
    fn from(signal: StopSignal) -> Self {
        signal.name().to_owned()
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name of a signal by its number, for messages; the number itself if it has none worth telling.
pub(crate) fn name_of(raw: i32) -> String {
    let name = match Signal::from_named_raw(raw) {
        Some(Signal::HUP) => "SIGHUP",
        Some(Signal::INT) => "SIGINT",
        Some(Signal::QUIT) => "SIGQUIT",
        Some(Signal::ILL) => "SIGILL",
        Some(Signal::ABORT) => "SIGABRT",
        Some(Signal::BUS) => "SIGBUS",
        Some(Signal::FPE) => "SIGFPE",
        Some(Signal::KILL) => "SIGKILL",
        Some(Signal::SEGV) => "SIGSEGV",
        Some(Signal::PIPE) => "SIGPIPE",
        Some(Signal::TERM) => "SIGTERM",
        _ => return format!("signal {raw}"),
    };
    name.to_owned()
}
