//! Why a ledger cannot be used.

use std::path::PathBuf;

/// The ledger's file cannot be used. The agent does not start without it: an agent that forgot what it did could do
/// it again.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be made or opened.
    #[error(
        "cannot open the ledger {path}: check that its directory exists, is writable and on a local disk"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error(
        "the ledger {path} is in use: another agent runs with the same state_dir; stop it, or give each its own"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is no ledger, or damaged.
    #[error(
        "the ledger {path} cannot be read. If no operation is under way, move it away and start the agent again; it \
         then remembers no attempt and no term"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the database says.
        #[source]
        source: Box<redb::Error>,
    },
    /// It has no bytes.
    #[error(
        "the ledger {path} is damaged: it is empty, and what this agent has done is lost with it. If no operation is \
         under way (`interlockctl operation list`), move it away and start the agent again: it then remembers no \
         attempt and no term"
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It is another agent's.
    #[error(
        "the ledger {path} is that of {owner}, and this agent is {own}: its state_dir was copied from there, or two agents \
         share it, or the node was renamed. Give this agent a state_dir of its own; a node that was renamed while no \
         operation was under way begins anew with an empty one"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who this agent is.
        own: String,
    },
    /// It is not what the agent that runs has opened and written.
    #[error(
        "the ledger {path} was taken away or replaced under this agent: there is none, another file, or an older copy. Put the \
         agent's own file back. If it is lost, stop the agent; if no operation is under way (`interlockctl operation list`), \
         move away what is there and start the agent again: it then remembers no attempt and no term"
    )]
    Swapped {
        /// The file.
        path: PathBuf,
    },
    /// A new one cannot be written.
    #[error("cannot make the ledger {path}: is the disk full?")]
    Make {
        /// The file.
        path: PathBuf,
        /// What the database says.
        #[source]
        source: Box<redb::Error>,
    },
    /// A record in it cannot be understood.
    #[error(
        "the ledger {path} has a record that this version does not understand ({slot}): was the agent downgraded?"
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// Where the record lies.
        slot: String,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// The writing thread cannot be started.
    #[error("cannot start the thread that writes the ledger")]
    Thread(#[source] std::io::Error),
}
