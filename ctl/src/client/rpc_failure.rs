//! A call that failed, in words for people.

use std::fmt;

use interlock_mesh::channel::{Address, ConnectError};
use interlock_mesh::identity::Identity;
use interlock_mesh::reason;
use tonic::{Code, Status};

use crate::exit::Exit;
use crate::render::{clean, clean_lines};

/// A call that failed.
#[derive(Debug)]
pub(crate) struct RpcFailure {
    doing: String,
    address: Address,
    own: String,
    status: Status,
    /// The command that tells whether it was done all the same, if it was to change something.
    look: Option<String>,
    /// What was found out about it since.
    more: String,
}

impl RpcFailure {
    pub(super) fn new(doing: &str, address: Address, own: &Identity, status: Status) -> Self {
        Self {
            doing: doing.to_owned(),
            address,
            own: own.caller().to_string(),
            status,
            look: None,
            more: String::new(),
        }
    }

    /// The same of a call that was to change something: `look` tells whether it did.
    pub(super) fn of_a_change(self, look: &str) -> Self {
        Self {
            look: Some(look.to_owned()),
            ..self
        }
    }

    /// What to do where no answer came.
    fn without_an_answer(&self) -> String {
        self.look.as_ref().map_or("try again".to_owned(), |look| {
            format!("it may have been done all the same: look with `{look}` before you try again")
        })
    }

    /// The same with what was found out about it.
    pub(crate) fn explained(self, more: &str) -> Self {
        Self {
            more: format!("\n  {more}"),
            ..self
        }
    }

    /// What the other side answered.
    pub(crate) fn code(&self) -> Code {
        self.status.code()
    }

    /// The stable word for it: the other side's, or that of the code.
    pub(crate) fn word(&self) -> String {
        if ConnectError::inside(&self.status).is_some() || self.broke() {
            return "unreachable".to_owned();
        }
        match reason::of(&self.status) {
            Some(word) => clean(word),
            None => kebab(&format!("{:?}", self.status.code())),
        }
    }

    /// The exit code that stands for it.
    pub(crate) fn exit(&self) -> Exit {
        match exit_of(self.code()) {
            // A connection that broke in the middle comes as *unknown*; what is behind it decides.
            Exit::Failed if self.broke() => Exit::Unreachable,
            exit => exit,
        }
    }

    /// May the same call succeed in a moment, at this coordinator or another?
    pub(crate) fn is_transient(&self) -> bool {
        match ConnectError::inside(&self.status) {
            Some(error) => error.is_transient(),
            None => self.code() == Code::Unavailable || self.broke(),
        }
    }

    /// Did the transport break, rather than the other side answer?
    fn broke(&self) -> bool {
        std::error::Error::source(&self.status).is_some()
    }
}

/// `FailedPrecondition` as `failed-precondition`.
fn kebab(name: &str) -> String {
    let mut word = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(c.to_ascii_lowercase());
    }
    word
}

/// The exit code that stands for what the other side answered; `docs/errors.md` has the same.
fn exit_of(code: Code) -> Exit {
    match code {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Exit::Unreachable,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::ResourceExhausted
        | Code::Unauthenticated => Exit::Refused,
        Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => {
            Exit::Failed
        }
    }
}

impl fmt::Display for RpcFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told(f)?;
        f.write_str(&self.more)
    }
}

impl RpcFailure {
    fn told(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            doing,
            address,
            own,
            status,
            ..
        } = self;
        if let Some(error) = ConnectError::inside(status) {
            return write!(f, "cannot {doing}: {error}");
        }
        if self.broke() {
            let then = self.without_an_answer();
            return write!(
                f,
                "no answer when asked to {doing}: {address} went away in the middle; {then}"
            );
        }
        // What the other side says: a line, but for the problems of a file, which are many.
        let message = match status.code() {
            Code::InvalidArgument => clean_lines(status.message()),
            _ => clean(status.message()),
        };
        match status.code() {
            Code::Unavailable if reason::of(status).is_some() => {
                write!(f, "cannot {doing}: {message}")
            }
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::ResourceExhausted => write!(f, "cannot {doing}: {message}"),
            Code::PermissionDenied | Code::Unauthenticated => write!(
                f,
                "cannot {doing}: {address} does not permit it to {own}: {message}; \
                 use a context whose certificate has the role, or have one issued"
            ),
            Code::DeadlineExceeded => write!(
                f,
                "no answer when asked to {doing}: {address}: {message}; it is overloaded, or stuck (its log tells): {}",
                self.without_an_answer()
            ),
            Code::Unimplemented => write!(
                f,
                "cannot {doing}: {address} does not know this call: is it of an older version? \
                 `interlockctl status` shows its version"
            ),
            Code::Unavailable | Code::Cancelled => write!(
                f,
                "no answer when asked to {doing}: {address} went away in the middle ({message}); {}",
                self.without_an_answer()
            ),
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => write!(
                f,
                "cannot {doing}: {address} failed: {message}; see the log of the program there"
            ),
        }
    }
}

impl std::error::Error for RpcFailure {}

#[cfg(test)]
mod tests {
    use interlock_mesh::reason::Because as _;

    use super::*;

    /// The rows of the page: code, exit code.
    fn rows() -> Vec<(String, String)> {
        let page = include_str!("../../../docs/errors.md");
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        rows.map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let code = cells.next().unwrap().trim_matches('`');
            (code.to_owned(), cells.next().unwrap().to_owned())
        })
        .collect()
    }

    #[test]
    fn every_code_has_an_entry_with_its_exit_code() {
        let rows = rows();
        // 0 is no error; 16 is the last that gRPC has.
        for code in (1..=16).map(Code::from_i32) {
            let name = format!("{code:?}");
            let row = rows.iter().find(|(entry, _)| *entry == name);
            let exit = Exit::ALL
                .into_iter()
                .find(|(exit, _, _)| *exit == exit_of(code))
                .map(|(_, number, _)| number.to_string());
            assert_eq!(row.map(|(_, exit)| exit.clone()), exit, "{name}");
        }
    }

    fn failed(status: Status) -> RpcFailure {
        let own = "interlock://shop/operator/anna?role=admin".parse().unwrap();
        let address = "127.0.0.1:1".parse().unwrap();
        RpcFailure::new("start the operation", address, &own, status)
    }

    #[test]
    fn what_was_to_change_something_may_have_been_done_where_no_answer_came_and_not_where_one_did()
    {
        let look = "interlockctl operation list";
        for status in [
            Status::unavailable("gone"),
            Status::deadline_exceeded("no answer within 10 s"),
            Status::cancelled("gone"),
            Status::from_error("broken pipe".into()),
        ] {
            let asks = failed(status.clone()).to_string();
            assert!(
                asks.ends_with("try again") && !asks.contains(look),
                "{asks}"
            );
            let changes = failed(status).of_a_change(look).to_string();
            assert!(
                changes.contains("it may have been done all the same")
                    && changes.contains("look with `interlockctl operation list`"),
                "{changes}"
            );
        }
        let answered = Status::unavailable("nothing was begun: the disk is full");
        let answered = failed(answered.because(reason::Reason::StoreStuck)).of_a_change(look);
        assert_eq!(
            answered.to_string(),
            "cannot start the operation: nothing was begun: the disk is full"
        );
        assert_eq!(
            (answered.word().as_str(), answered.exit()),
            ("store-stuck", Exit::Unreachable)
        );
    }

    #[test]
    fn every_state_of_a_step_that_needs_a_person_has_an_entry() {
        let rows = rows();
        for state in ["blocked", "failed", "unknown", "undo-failed"] {
            assert!(rows.iter().any(|(entry, _)| entry == state), "{state}");
        }
    }
}
