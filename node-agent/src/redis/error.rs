//! What goes wrong, and where.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use interlock_model::names::LocalName;

/// An operation on a server is not done.
#[derive(Debug, thiserror::Error)]
#[error("redis {server}: cannot {doing}")]
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
    /// Nobody listens there, or it is not reached.
    #[error("cannot connect to {0}")]
    Connect(String, #[source] io::Error),
    /// The talk broke off.
    #[error("{0}: {1}")]
    Broken(String, String),
    /// It took too long.
    #[error("it is not done within {0:?}")]
    Limit(Duration),
    /// A login was refused. What was refused is not told: the server may quote it.
    #[error("{0} refuses the login ({1}): see `login` and `password` in the agent's file")]
    Login(String, String),
    /// The password cannot be read.
    #[error("its password cannot be read")]
    Password(#[source] crate::config::SecretError),
    /// A command was refused.
    #[error("{server} refuses {command}: {why}")]
    Refused {
        /// Who refuses.
        server: String,
        /// The command, without its arguments.
        command: String,
        /// Why.
        why: String,
    },
    /// An answer is not one that is known here.
    #[error("{server} answers {command} with something that is not known here: {what}")]
    Answer {
        /// Who answers.
        server: String,
        /// What was asked.
        command: &'static str,
        /// What is missing or strange.
        what: String,
    },
    /// Another server has the port.
    #[error("{server} is another server: it was started with {theirs}")]
    AnotherServer {
        /// Where it listens.
        server: String,
        /// Its configuration file.
        theirs: String,
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
    /// A start of the server would not be that of a replica.
    #[error("{path} does not make every start that of a replica: {why}")]
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
