//! What goes wrong, and where.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use interlock_model::names::LocalName;

/// An operation on a server is not done.
#[derive(Debug, thiserror::Error)]
#[error("mariadb {server}: cannot {doing}")]
pub struct Error {
    /// Its name in the agent's file.
    pub server: LocalName,
    /// What was to be done.
    pub doing: &'static str,
    /// Why it is not.
    #[source]
    pub trouble: Trouble,
}

/// Why an operation is not done.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// There is no client.
    #[error("there is no {0} on this machine; install mariadb-client")]
    NoClient(&'static str),
    /// A program cannot be started.
    #[error("cannot start {program}")]
    Start {
        /// Which.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nobody listens there, or it is not reached.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, String),
    /// The client failed.
    #[error("{0}: {1}")]
    Broken(String, String),
    /// It took too long.
    #[error("it is not done within {0:?}")]
    Limit(Duration),
    /// A login was refused.
    #[error(
        "{server} refuses the login of {user} ({number}): see `login`, `password` and `replication_password` in the agent's file, and `user` in the spec"
    )]
    Login {
        /// Who refuses.
        server: String,
        /// Whom.
        user: String,
        /// The number of its error.
        number: u32,
    },
    /// The password cannot be read.
    #[error("its password cannot be read")]
    Password(#[source] crate::config::SecretError),
    /// A statement was refused.
    #[error("{server} refuses to {what}: {why} ({number})")]
    Refused {
        /// Who refuses.
        server: String,
        /// What was asked, in words: a statement may hold a password.
        what: &'static str,
        /// The number of its error.
        number: u32,
        /// Its text; nothing where it could quote a password.
        why: String,
    },
    /// An answer is not one that is known here.
    #[error("{server} says something that is not known here: {what}")]
    Answer {
        /// Who answers.
        server: String,
        /// What is missing or strange.
        what: String,
    },
    /// It is not what it was to become.
    #[error("it {0}")]
    NotDone(String),
    /// A file cannot be used.
    #[error("cannot {doing} {path}")]
    File {
        /// What was to be done with it.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A start of the server would not be that of a read-only one.
    #[error("{path} does not make every start that of a read-only replica: {why}")]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// The agent is ending.
    #[error("the agent is ending")]
    Ending,
}
