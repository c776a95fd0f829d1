//! HAProxy's runtime socket (HAProxy Management Guide, section 9.3).
//!
//! One command to a connection: HAProxy answers it and closes. What the socket was told lasts until HAProxy reloads or
//! restarts, which makes it forget; whoever tells it something reads it back. States are read from two places: what an
//! administrator wants of a server from `show servers state`, what HAProxy makes of it, and its sessions, from
//! `show stat`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Admin, Server, listed};

/// How long HAProxy may take to answer: it does so from memory.
const ANSWER: Duration = Duration::from_secs(5);

/// The longest answer that is read: the figures of thousands of servers.
const LONGEST: u64 = 8 << 20;

/// Administrative states of a server that were forced through the socket or the configuration, not inherited from a
/// tracked server or caused by name resolution (Management Guide, `show servers state`, `srv_admin_state`).
const FORCED_MAINT: u32 = 0x01;
const FORCED_DRAIN: u32 = 0x08;

/// An HAProxy, by its runtime socket.
#[derive(Debug, Clone)]
pub(crate) struct Haproxy {
    socket: PathBuf,
}

/// HAProxy cannot be told, or asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody answers on the socket.
    #[error("haproxy cannot be reached at {}", socket.display())]
    Unreachable {
        socket: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("haproxy at {} has not answered '{command}' within {ANSWER:?}", socket.display())]
    Late { socket: PathBuf, command: String },
    /// It answered something else than what was asked for.
    #[error("haproxy refused '{command}': {answer}")]
    Refused { command: String, answer: String },
    /// There is no such backend.
    #[error("haproxy has no backend {backend}; it has {}", listed(known))]
    NoBackend { backend: String, known: Vec<String> },
    /// There is no such server.
    #[error("backend {backend} has no server {server}; it has {}", listed(known))]
    NoServer {
        backend: String,
        server: String,
        known: Vec<String>,
    },
}

impl Haproxy {
    /// The HAProxy that listens on this socket.
    pub(crate) fn at(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// How a server is.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) async fn look(&self, backend: &str, server: &str) -> Result<Server, Error> {
        let states = self.ask(&format!("show servers state {backend}")).await?;
        let Some(states) = Table::parse(&states, "# be_id", ' ') else {
            return Err(self.no_backend(backend).await);
        };
        let Some(state) = states.row("srv_name", server) else {
            let known = states.column("srv_name");
            return Err(Error::NoServer {
                backend: backend.to_owned(),
                server: server.to_owned(),
                known: known.map(str::to_owned).collect(),
            });
        };
        let admin: u32 = number(state.get("srv_admin_state"), "show servers state")?;
        // 4: servers alone.
        let command = format!("show stat {backend} 4 -1");
        let figures = self.ask(&command).await?;
        let figures = Table::parse(&figures, "# pxname", ',');
        let figures = figures.as_ref().and_then(|it| it.row("svname", server));
        let Some(figures) = figures else {
            return Err(unread(&command, "the server is missing"));
        };
        let status = figures.get("status").unwrap_or_default().to_owned();
        Ok(Server {
            admin: if admin & FORCED_MAINT != 0 {
                Admin::Maint
            } else if admin & FORCED_DRAIN != 0 {
                Admin::Drain
            } else {
                Admin::Ready
            },
            // After a `ready` it is taken for up at once and with reservation, as `UP 1/3`, until its own checks agree.
            up: status == "UP" || status == "no check",
            reached: status.starts_with("UP") || status == "no check",
            status,
            checked: figures.get("check_status").unwrap_or_default().to_owned(),
            sessions: number(figures.get("scur"), &command)?,
            counted: "sessions",
        })
    }

    /// Says what is wanted of a server.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) async fn set(&self, backend: &str, server: &str, admin: Admin) -> Result<(), Error> {
        let command = format!("set server {backend}/{server} state {}", admin.word());
        match self.ask(&command).await?.trim() {
            "" => Ok(()),
            answer => Err(unread(&command, answer)),
        }
    }

    async fn no_backend(&self, backend: &str) -> Error {
        let known = match self.ask("show backend").await {
            Ok(answer) => answer,
            Err(error) => return error,
        };
        let known = known.lines().map(str::trim);
        Error::NoBackend {
            backend: backend.to_owned(),
            known: known
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned)
                .collect(),
        }
    }

    /// The answer to a command. The caller has made sure that the names in it cannot end it.
    async fn ask(&self, command: &str) -> Result<String, Error> {
        let talk = async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            stream.write_all(format!("{command}\n").as_bytes()).await?;
            let mut answer = Vec::new();
            stream.take(LONGEST).read_to_end(&mut answer).await?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        match timeout(ANSWER, talk).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(Error::Unreachable {
                socket: self.socket.clone(),
                source,
            }),
            Err(_) => Err(Error::Late {
                socket: self.socket.clone(),
                command: command.to_owned(),
            }),
        }
    }
}

/// A table with a line of names, of which the first begins with `# `.
#[derive(Debug)]
struct Table<'t> {
    names: Vec<&'t str>,
    rows: Vec<Vec<&'t str>>,
}

impl<'t> Table<'t> {
    /// The table whose line of names begins like this; none if there is no such line.
    fn parse(text: &'t str, begins: &str, separator: char) -> Option<Self> {
        let mut lines = text.lines().skip_while(|line| !line.starts_with(begins));
        let names = lines.next()?.trim_start_matches("# ").split(separator);
        let rows = lines.take_while(|line| !line.trim().is_empty());
        Some(Self {
            names: names.collect(),
            rows: rows.map(|line| line.split(separator).collect()).collect(),
        })
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| *known == name)
    }

    fn column(&self, name: &str) -> impl Iterator<Item = &'t str> {
        let index = self.index(name);
        self.rows
            .iter()
            .filter_map(move |row| row.get(index?).copied())
    }

    /// The first row that has this value in this column.
    fn row(&self, name: &str, value: &str) -> Option<Row<'_, 't>> {
        let index = self.index(name)?;
        let row = self
            .rows
            .iter()
            .find(|row| row.get(index) == Some(&value))?;
        Some(Row { table: self, row })
    }
}

struct Row<'a, 't> {
    table: &'a Table<'t>,
    row: &'a [&'t str],
}

impl<'t> Row<'_, 't> {
    fn get(&self, name: &str) -> Option<&'t str> {
        self.row.get(self.table.index(name)?).copied()
    }
}

fn number<N: std::str::FromStr>(text: Option<&str>, command: &str) -> Result<N, Error> {
    let text = text.unwrap_or_default();
    text.parse()
        .map_err(|_| unread(command, &format!("'{text}' is no number")))
}

fn unread(command: &str, answer: &str) -> Error {
    const SHOWN: usize = 200;
    Error::Refused {
        command: command.to_owned(),
        answer: answer.trim().chars().take(SHOWN).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_by_the_names_of_their_columns() {
        let text = "1\n# be_id be_name srv_id srv_name srv_addr\n3 web 1 jb1 127.0.0.1\n3 web 2 jb2 127.0.0.1\n\n";
        let table = Table::parse(text, "# be_id", ' ').unwrap();
        assert_eq!(table.column("srv_name").collect::<Vec<_>>(), ["jb1", "jb2"]);
        let row = table.row("srv_name", "jb2").unwrap();
        assert_eq!((row.get("srv_id"), row.get("nothing")), (Some("2"), None));
        assert!(Table::parse("Can't find backend.\n\n", "# be_id", ' ').is_none());
    }
}
