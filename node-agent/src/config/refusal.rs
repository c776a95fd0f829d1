//! A refusal by the allow-list, with the line that would permit it.

use std::fmt;
use std::path::PathBuf;

/// The agent's own file does not permit what was asked for. Recorded and reported; nothing has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked for.
    pub what: String,
    /// The file that would have to permit it.
    pub file: PathBuf,
    /// The table of the line.
    pub table: String,
    /// The line that permits it: the complete new value of its key. Empty where no line does, but something has to go from
    /// the table.
    pub line: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            file,
            table,
            line,
        } = self;
        let file = file.display();
        match line.as_str() {
            "" => write!(
                f,
                "this node does not permit {what}; leave it to one of them under [{table}] in {file}"
            ),
            line => write!(
                f,
                "this node does not permit {what}: to permit it, set `{line}` under [{table}] in {file}"
            ),
        }
    }
}

impl std::error::Error for Refusal {}
