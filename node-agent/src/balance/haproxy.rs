//! HAProxy's runtime socket (HAProxy Management Guide, section 9.3).
//!
//! One command to a connection: HAProxy answers it and closes. What the socket was told lasts until HAProxy reloads or
//! restarts, which makes it forget; whoever tells it something reads it back. States are read from two places: what an
//! administrator wants of a server from `show servers state`, what HAProxy makes of it, and its sessions, from
//! `show stat`.
//!
//! # A reload
//! The process of before takes nothing new and serves what it has to its end, which the socket does not tell: that is the new
//! process's, which begins to count at none. Whoever waits for the last session of a server waits for these too. Where HAProxy
//! has a master (`-W`), they are its other children, and the kernel knows their connections to the server.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Admin, Server, connections, listed};
use crate::shim::{ProcessRef, children, parent};
use crate::tool::blocking;

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
    /// Nobody is behind this backend.
    #[error("backend {backend} has no server")]
    Vacant { backend: String },
    /// Nobody is behind it.
    #[error("haproxy has no server in any backend")]
    Empty,
    /// There is no such server.
    #[error("backend {backend} has no server {server}; it has {}", listed(known))]
    NoServer {
        backend: String,
        server: String,
        known: Vec<String>,
    },
}

impl Error {
    /// Does nobody listen, or did whoever listened end in the middle?
    pub(crate) fn is_away(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound};
        let Self::Unreachable { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            NotFound | ConnectionRefused | ConnectionReset | BrokenPipe
        )
    }

    /// Has HAProxy, or the machine in its place, said something by it? Nobody knows how it is otherwise.
    pub(crate) fn is_an_answer(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.kind() == io::ErrorKind::ConnectionRefused,
            Self::NoBackend { .. } | Self::Vacant { .. } | Self::Empty | Self::NoServer { .. } => {
                true
            }
            Self::Late { .. } | Self::Refused { .. } => false,
        }
    }
}

/// A server of a backend, as `show stat` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HaproxyServer {
    /// The backend that it is in.
    pub(crate) backend: String,
    /// Its name there.
    pub(crate) name: String,
    /// What HAProxy makes of it: `UP`, `DOWN 1/2`, `MAINT`, `no check`.
    pub(crate) status: String,
    /// What HAProxy's own check of it said last; empty without one.
    pub(crate) checked: String,
}

impl HaproxyServer {
    /// Does it get new clients?
    pub(crate) fn reached(&self) -> bool {
        reached(&self.status)
    }
}

impl fmt::Display for HaproxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} is {}", self.backend, self.name, self.status)?;
        match self.checked.as_str() {
            "" => Ok(()),
            checked => write!(f, " (its check: {checked})"),
        }
    }
}

fn reached(status: &str) -> bool {
    status.starts_with("UP") || status == "no check"
}

impl Haproxy {
    /// The HAProxy that listens on this socket.
    pub(crate) fn at(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// How a server is, with what processes of before a reload still serve of it.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) async fn look(&self, backend: &str, server: &str) -> Result<Server, Error> {
        let (seen, at) = self.see(backend, server).await?;
        let info = self.ask("show info").await?;
        let worker = info.lines().find_map(|line| line.strip_prefix("Pid: "));
        let worker = number(worker, "show info")?;
        let left = match blocking(move || earlier(worker)).await {
            Ok(earlier) if earlier.is_empty() => return Ok(seen),
            Ok(earlier) => sessions_of(earlier, server, at).await,
            Err(error) => {
                tracing::debug!(server, %error, "processes of before a reload are not found");
                return Ok(seen);
            }
        };
        Ok(Server {
            sessions: seen.sessions + left,
            counted: "sessions, those of before a reload with them",
            ..seen
        })
    }

    /// How a server is.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) async fn glance(&self, backend: &str, server: &str) -> Result<Server, Error> {
        Ok(self.see(backend, server).await?.0)
    }

    /// The same, and where it is.
    async fn see(
        &self,
        backend: &str,
        server: &str,
    ) -> Result<(Server, Option<SocketAddr>), Error> {
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
        // One on a socket of a file system has no address.
        let (ip, port) = (state.get("srv_addr"), state.get("srv_port"));
        let ip = ip.and_then(|ip| ip.parse().ok());
        let port = port.and_then(|port| port.parse().ok());
        let at = ip.zip(port).map(|(ip, port)| SocketAddr::new(ip, port));
        let server = Server {
            admin: if admin & FORCED_MAINT != 0 {
                Admin::Maint
            } else if admin & FORCED_DRAIN != 0 {
                Admin::Drain
            } else {
                Admin::Ready
            },
            // After a `ready` it is taken for up at once and with reservation, as `UP 1/3`, until its own checks agree.
            up: status == "UP" || status == "no check",
            reached: reached(&status),
            status,
            checked: figures.get("check_status").unwrap_or_default().to_owned(),
            sessions: number(figures.get("scur"), &command)?,
            counted: "sessions",
        };
        Ok((server, at))
    }

    /// The servers of these backends, or of all if none is named.
    ///
    /// # Errors
    /// See [`Error`]; also if one of the backends does not exist or has no server.
    pub(crate) async fn servers(&self, backends: &[String]) -> Result<Vec<HaproxyServer>, Error> {
        // Of all proxies, servers alone (4).
        const COMMAND: &str = "show stat -1 4 -1";
        let figures = self.ask(COMMAND).await?;
        let figures = Table::parse(&figures, "# pxname", ',')
            .ok_or_else(|| unread(COMMAND, "there is no table"))?;
        let servers = figures.rows.iter().map(|row| {
            let row = Row {
                table: &figures,
                row,
            };
            let text = |name| row.get(name).map(str::to_owned);
            Some(HaproxyServer {
                backend: text("pxname")?,
                name: text("svname")?,
                status: text("status")?,
                checked: text("check_status")?,
            })
        });
        let servers: Option<Vec<_>> = servers.collect();
        let mut servers = servers.ok_or_else(|| unread(COMMAND, "a column is missing"))?;
        for backend in backends {
            if !servers.iter().any(|server| server.backend == *backend) {
                return Err(match self.no_backend(backend).await {
                    Error::NoBackend { backend, known } if known.contains(&backend) => {
                        Error::Vacant { backend }
                    }
                    error => error,
                });
            }
        }
        if !backends.is_empty() {
            servers.retain(|server| backends.contains(&server.backend));
        }
        if servers.is_empty() {
            return Err(Error::Empty);
        }
        Ok(servers)
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

/// The processes of before a reload that still serve: what its master has besides this one.
fn earlier(worker: u32) -> io::Result<BTreeSet<ProcessRef>> {
    let is_haproxy = |pid: u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.trim_end() == "haproxy")
    };
    // In another namespace of processes its number is somebody else's here.
    let master = parent(worker).filter(|master| is_haproxy(*master) && is_haproxy(worker));
    let Some(master) = master else {
        return Ok(BTreeSet::new());
    };
    let others = children(master)?.into_iter();
    let others = others.filter(|child| child.pid != worker && is_haproxy(child.pid));
    Ok(others.collect())
}

/// What they have with a server. Where that cannot be counted, each of them may have something.
async fn sessions_of(processes: BTreeSet<ProcessRef>, server: &str, at: Option<SocketAddr>) -> u64 {
    let all = u64::try_from(processes.len()).unwrap_or(u64::MAX);
    let Some(at) = at else {
        return all;
    };
    let counted = blocking(move || connections::count(&processes, &[at])).await;
    counted.unwrap_or_else(|error| {
        tracing::debug!(server, %error, "connections of before a reload cannot be counted");
        all
    })
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
