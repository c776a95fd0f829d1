//! What a server says of itself, without any I/O.

use super::gtid::Gtids;
use crate::probe::mariadb::Table;

/// What is asked of every server: nothing that needs a right.
pub(super) const SERVER: &str = "SELECT @@global.read_only AS read_only, @@global.server_id AS server_id, \
     @@global.gtid_domain_id AS domain, @@global.gtid_binlog_pos AS written, @@global.gtid_binlog_state AS history, \
     @@global.gtid_slave_pos AS applied";

/// What is asked of the one of this machine beside that.
pub(super) const STATUS: &str = "SHOW ALL SLAVES STATUS";

/// Errors of the connection to a source, after which the thread tries again by itself (MariaDB documentation, *MariaDB Error Code
/// Reference*; `is_network_error` in its slave.cc): those of a client, of packets on the way, of a login that is refused, of a
/// source that is full, shuts down, or has ended the connection.
fn passes(number: u32) -> bool {
    matches!(number, 1040 | 1045 | 1053 | 1129 | 1130 | 1158..=1161 | 1927 | 2000..=2999)
}

/// A look at a server that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Does it refuse writes of ordinary users?
    pub read_only: bool,
    /// Its number among all servers that replicate.
    pub server_id: u32,
    /// The domain of what is written to it.
    pub domain: u32,
    /// The last transactions of its log.
    pub written: Gtids,
    /// The last transaction of each server in its log.
    pub history: Gtids,
    /// What it has applied of others.
    pub applied: Gtids,
    /// Whom it is told to follow.
    pub sources: Vec<Source>,
}

/// Whom a server is told to follow, and how that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name of the connection; the only one that is used here has none.
    pub name: String,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How its stream comes in.
    pub link: Link,
    /// Why the stream was refused, or broke.
    pub link_error: Option<(u32, String)>,
    /// Is what comes in applied?
    pub applies: bool,
    /// Why it is not.
    pub apply_error: Option<(u32, String)>,
    /// What has come in.
    pub received: Gtids,
    /// By how many seconds what is applied is behind; none if it does not say.
    pub lag: Option<u64>,
}

/// The way in of a source's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It is connected.
    Up,
    /// It tries to be.
    Connecting,
    /// It is stopped.
    Stopped,
}

impl Source {
    /// Does it get the stream, and apply it?
    #[must_use]
    pub fn runs(&self) -> bool {
        self.link == Link::Up && self.applies && self.apply_error.is_none()
    }

    /// Why it will not go on by itself; none if it does, or may.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        if let Some((number, text)) = &self.apply_error {
            return Some(format!(
                "what {} wrote is not applied: {text} ({number})",
                self.host
            ));
        }
        let (number, text) = self.link_error.as_ref()?;
        (self.link == Link::Stopped && !passes(*number))
            .then(|| format!("{} sends nothing: {text} ({number})", self.host))
    }
}

impl Facts {
    /// What a server answers.
    ///
    /// # Errors
    /// With what is missing or strange.
    pub(super) fn read(server: &Table, status: &Table) -> Result<Self, String> {
        let [row] = server.as_slice() else {
            return Err(format!("{} rows of variables", server.len()));
        };
        let row = Row(row);
        Ok(Self {
            read_only: match row.text("read_only")? {
                "0" | "OFF" => false,
                // Later versions have more than one way of being read-only.
                "" | "NULL" => return Err("read_only is nothing".to_owned()),
                _ => true,
            },
            server_id: row.number("server_id")?,
            domain: row.number("domain")?,
            written: row.number("written")?,
            history: row.number("history")?,
            applied: row.number("applied")?,
            sources: status
                .iter()
                .map(|row| Row(row).source())
                .collect::<Result<_, _>>()?,
        })
    }

    /// All transactions that its data have, as far as it knows.
    #[must_use]
    pub fn all(&self) -> Gtids {
        self.history.and(&self.applied).and(&self.written)
    }

    /// Whom it is told to follow, by the connection that is used here.
    #[must_use]
    pub fn source(&self) -> Option<&Source> {
        self.sources.iter().find(|source| source.name.is_empty())
    }

    /// How far its data go: the number of the last transaction.
    ///
    /// # Errors
    /// Why that cannot be compared with others'.
    pub fn position(&self) -> Result<u64, String> {
        let last = self.written.and(&self.applied);
        if let Some(other) = last.iter().find(|gtid| gtid.domain != self.domain) {
            return Err(format!(
                "it has transactions of another domain ({other}) than its own (gtid_domain_id {}): how far its data go is no one \
                 number. Give all servers of the service one gtid_domain_id, and begin anew with `RESET MASTER` and an empty \
                 gtid_slave_pos everywhere",
                self.domain
            ));
        }
        Ok(last.last_of(self.domain).map_or(0, |gtid| gtid.number))
    }

    /// The last transaction of its data; none if it has none.
    #[must_use]
    pub fn last(&self) -> Option<super::Gtid> {
        self.written.and(&self.applied).last_of(self.domain)
    }
}

struct Row<'r>(&'r [(String, String)]);

impl Row<'_> {
    fn text(&self, name: &str) -> Result<&str, String> {
        let column = self.0.iter().find(|(column, _)| column == name);
        column
            .map(|(_, value)| value.as_str())
            .ok_or_else(|| format!("no {name}"))
    }

    fn number<N: std::str::FromStr>(&self, name: &str) -> Result<N, String> {
        // What the client prints in a row has its newlines as `\n`.
        let text = self.text(name)?.replace("\\n", "");
        text.parse().map_err(|_| format!("{name}: {text}"))
    }

    fn error(&self, number: &str, text: &str) -> Result<Option<(u32, String)>, String> {
        let number: u32 = self.number(number)?;
        Ok((number != 0).then_some((number, self.text(text)?.to_owned())))
    }

    fn source(&self) -> Result<Source, String> {
        let running = self.text("Slave_SQL_Running")?;
        Ok(Source {
            name: self.text("Connection_name")?.to_owned(),
            host: self.text("Master_Host")?.to_owned(),
            port: self.number("Master_Port")?,
            link: match self.text("Slave_IO_Running")? {
                "Yes" => Link::Up,
                "Connecting" | "Preparing" => Link::Connecting,
                "No" => Link::Stopped,
                other => return Err(format!("Slave_IO_Running: {other}")),
            },
            link_error: self.error("Last_IO_Errno", "Last_IO_Error")?,
            applies: match running {
                "Yes" => true,
                "No" => false,
                other => return Err(format!("Slave_SQL_Running: {other}")),
            },
            apply_error: self.error("Last_SQL_Errno", "Last_SQL_Error")?,
            received: self.number("Gtid_IO_Pos")?,
            // NULL while a thread does not run: unknown, and not nothing.
            lag: self.number("Seconds_Behind_Master").ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        owned.collect()
    }

    fn server(read_only: &str, written: &str, applied: &str) -> Table {
        vec![row(&[
            ("read_only", read_only),
            ("server_id", "2"),
            ("domain", "0"),
            ("written", written),
            ("history", "0-1-9,\\n0-2-10"),
            ("applied", applied),
        ])]
    }

    fn status(io: &str, sql: &str, lag: &str, errors: [&str; 2]) -> Table {
        vec![row(&[
            ("Connection_name", ""),
            ("Master_Host", "10.0.0.1"),
            ("Master_Port", "3306"),
            ("Slave_IO_Running", io),
            ("Slave_SQL_Running", sql),
            ("Last_IO_Errno", errors[0]),
            ("Last_IO_Error", "io"),
            ("Last_SQL_Errno", errors[1]),
            ("Last_SQL_Error", "sql"),
            ("Gtid_IO_Pos", "0-2-12"),
            ("Seconds_Behind_Master", lag),
        ])]
    }

    fn source(io: &str, sql: &str, lag: &str, errors: [&str; 2]) -> Source {
        let facts = Facts::read(&server("1", "0-2-10", ""), &status(io, sql, lag, errors));
        facts.unwrap().source().unwrap().clone()
    }

    #[test]
    fn a_position_is_one_number_only_if_all_of_it_is_of_one_domain() {
        let facts =
            |written, applied| Facts::read(&server("0", written, applied), &vec![]).unwrap();
        assert_eq!(facts("0-2-10", "0-1-9").position(), Ok(10));
        assert_eq!(facts("", "0-1-9").position(), Ok(9));
        assert_eq!(facts("", "").position(), Ok(0));
        let several = facts("0-2-10,1-1-3", "").position().unwrap_err();
        assert!(
            several.contains("1-1-3") && several.contains("gtid_domain_id"),
            "{several}"
        );
        assert_eq!(facts("0-2-10", "").all().to_string(), "0-1-9,0-2-10");
    }

    #[test]
    fn a_server_that_does_not_say_whether_it_is_read_only_is_unknown() {
        for (value, read_only) in [("0", false), ("1", true), ("NO_LOCK_NO_ADMIN", true)] {
            let facts = Facts::read(&server(value, "", ""), &vec![]).unwrap();
            assert_eq!(facts.read_only, read_only, "{value}");
        }
        assert!(Facts::read(&server("NULL", "", ""), &vec![]).is_err());
        assert!(Facts::read(&vec![], &vec![]).is_err());
    }

    #[test]
    fn a_lag_of_null_is_unknown_and_a_stream_runs_only_if_both_threads_do() {
        let good = source("Yes", "Yes", "3", ["0", "0"]);
        assert!(good.runs() && good.lag == Some(3) && good.broken().is_none());
        let null = source("Connecting", "Yes", "NULL", ["2003", "0"]);
        assert!(!null.runs() && null.lag.is_none(), "{null:?}");
        assert!(!source("Yes", "No", "NULL", ["0", "0"]).runs());
        let strange = Facts::read(
            &server("1", "", ""),
            &status("Perhaps", "Yes", "0", ["0", "0"]),
        );
        assert!(strange.unwrap_err().contains("Perhaps"));
    }

    #[test]
    fn what_will_not_go_on_by_itself_is_told_from_a_source_that_is_away() {
        assert_eq!(
            source("Connecting", "Yes", "NULL", ["2003", "0"]).broken(),
            None
        );
        for passing in ["2013", "1053", "1040"] {
            let source = source("No", "Yes", "NULL", [passing, "0"]);
            assert_eq!(source.broken(), None, "{passing}");
        }
        let gone = source("No", "Yes", "NULL", ["1236", "0"]).broken().unwrap();
        assert!(
            gone.contains("(1236)") && gone.contains("10.0.0.1"),
            "{gone}"
        );
        let twice = source("Yes", "No", "NULL", ["0", "1062"]).broken().unwrap();
        assert!(
            twice.contains("not applied") && twice.contains("(1062)"),
            "{twice}"
        );
    }
}
