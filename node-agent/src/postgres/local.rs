//! Sessions with servers: the one of this machine, and the one to follow.

use std::fmt::Debug;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::deadline::Deadline;
use super::passfile::{self, Wanted};
use super::{Trouble, Upstream, files, holders};
use crate::config::{Postgres, PostgresHost};
use crate::power::Secret;
use crate::probe::{End, Rows, Session, Trouble as Answer, Visitor};
use crate::shim::User;

/// The host that a password file names for a socket of the machine.
const LOCALHOST: &str = "localhost";
/// The database that a password file names for a replication connection.
const REPLICATION: &str = "replication";

/// What a session of a check would call its server. Here the caller knows which it is.
const TARGET: &str = "the server";

/// A way to a server.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send + Debug {}

impl Wire for TcpStream {}
impl Wire for UnixStream {}

/// A session with a server.
#[derive(Debug)]
pub(super) struct Talk {
    server: String,
    session: Session<'static, Box<dyn Wire>>,
}

/// Who logs in, and where.
struct Entry<'e> {
    server: String,
    host: &'e str,
    port: u16,
    user: &'e str,
    database: &'e str,
    replication: bool,
}

impl Talk {
    /// With the server of this machine. It is the one of the data directory, or this fails.
    pub(super) async fn local(
        config: &Postgres,
        owner: User,
        deadline: Deadline,
    ) -> Result<Self, Trouble> {
        deadline
            .within(async {
                let (server, wire): (String, Box<dyn Wire>) = match &config.host {
                    PostgresHost::Socket(dir) => {
                        let socket = dir.join(format!(".s.PGSQL.{}", config.port));
                        let server = socket.display().to_string();
                        let wire = UnixStream::connect(&socket).await;
                        let wire = wire.map_err(|error| Trouble::Connect(server.clone(), error))?;
                        (server, Box::new(wire))
                    }
                    PostgresHost::Address(ip) => {
                        let server = std::net::SocketAddr::from((*ip, config.port));
                        let wire = TcpStream::connect(server).await;
                        let server = server.to_string();
                        let wire = wire.map_err(|error| Trouble::Connect(server.clone(), error))?;
                        (server, Box::new(wire))
                    }
                };
                let host = match &config.host {
                    PostgresHost::Socket(_) => LOCALHOST.to_owned(),
                    PostgresHost::Address(ip) => ip.to_string(),
                };
                let entry = Entry {
                    server,
                    host: &host,
                    port: config.port,
                    user: &config.login,
                    database: &config.database,
                    replication: false,
                };
                let mut talk = Self::enter(wire, entry, config.passfile.as_deref(), owner).await?;
                talk.need_own(config).await?;
                Ok(talk)
            })
            .await
    }

    /// With the server to follow: with this database, or as a standby talks with it.
    pub(super) async fn upstream(
        upstream: &Upstream,
        database: Option<&str>,
        passfile: Option<&Path>,
        owner: User,
        deadline: Deadline,
    ) -> Result<Self, Trouble> {
        let server = format!("{}:{}", upstream.host, upstream.port);
        deadline
            .within(async {
                let wire = TcpStream::connect((upstream.host.as_str(), upstream.port)).await;
                let wire = wire.map_err(|error| Trouble::Connect(server.clone(), error))?;
                let entry = Entry {
                    server,
                    host: &upstream.host,
                    port: upstream.port,
                    user: &upstream.user,
                    database: database.unwrap_or(REPLICATION),
                    replication: database.is_none(),
                };
                Self::enter(Box::new(wire), entry, passfile, owner).await
            })
            .await
    }

    async fn enter(
        wire: Box<dyn Wire>,
        entry: Entry<'_>,
        passfile: Option<&Path>,
        owner: User,
    ) -> Result<Self, Trouble> {
        let password = password(passfile, &entry, owner).await?;
        let visitor = Visitor {
            user: entry.user,
            database: entry.database,
            password: password.as_ref(),
            replication: entry.replication,
            private: false,
        };
        let server = entry.server;
        let refused = |why: String| Trouble::Login {
            server: server.clone(),
            user: entry.user.to_owned(),
            why,
        };
        match Session::enter(wire, TARGET, visitor).await {
            Ok(session) => Ok(Self { server, session }),
            // It starts, ends or recovers: nobody is let in.
            Err(End::Refused(refusal)) if refusal.code == "57P03" => {
                Err(Trouble::Closed(refusal.message))
            }
            Err(End::Refused(refusal)) => Err(refused(refusal.to_string())),
            Err(End::Impostor(error)) => Err(refused(error.to_string())),
            Err(End::NoPassword) => Err(refused(
                "it asks for a password, and there is none".to_owned(),
            )),
            Err(End::Cannot(why)) => Err(refused(format!("it {why}"))),
            Err(End::Broken(error)) => Err(Trouble::Broken(server, error)),
        }
    }

    /// The rows of a query or a replication command.
    pub(super) async fn rows(&mut self, sql: &str) -> Result<Rows, Trouble> {
        match self.session.rows(sql).await {
            Ok(rows) => Ok(rows),
            Err(Answer::Refused(refusal)) => Err(Trouble::Refused {
                server: self.server.clone(),
                sql: sql.to_owned(),
                message: refusal.message,
                code: refusal.code,
            }),
            Err(Answer::Broken(error)) => Err(Trouble::Broken(self.server.clone(), error)),
        }
    }

    /// The columns of the only row.
    pub(super) async fn row<const N: usize>(
        &mut self,
        sql: &str,
    ) -> Result<[Option<String>; N], Trouble> {
        let rows = self.rows(sql).await?;
        let row = rows.into_iter().next().and_then(|row| row.try_into().ok());
        row.ok_or_else(|| self.odd(sql))
    }

    /// The only value of the only row, which is not NULL.
    pub(super) async fn value(&mut self, sql: &str) -> Result<String, Trouble> {
        let [value] = self.row(sql).await?;
        value.ok_or_else(|| self.odd(sql))
    }

    /// The answer is not one that is known here.
    pub(super) fn odd(&self, sql: &str) -> Trouble {
        Trouble::Answer {
            server: self.server.clone(),
            sql: sql.to_owned(),
        }
    }

    /// Which server it is with.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Ends it in an orderly way.
    pub(super) async fn close(self) {
        self.session.close().await;
    }

    /// Another server may have taken the port.
    async fn need_own(&mut self, config: &Postgres) -> Result<(), Trouble> {
        const SQL: &str = "SELECT pg_catalog.current_setting('data_directory')";
        let theirs = match self.value(SQL).await {
            // Insufficient privilege.
            Err(Trouble::Refused { code, .. }) if code == "42501" => {
                return Err(Trouble::Hidden("data_directory", config.login.clone()));
            }
            theirs => theirs?,
        };
        let same = holders::identity(&config.data)
            .and_then(|own| Ok(own == holders::identity(Path::new(&theirs))?));
        match same {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Trouble::AnotherServer {
                at: self.server.clone(),
                theirs,
            }),
        }
    }
}

/// The password for a login; none if the file has none.
async fn password(
    passfile: Option<&Path>,
    entry: &Entry<'_>,
    owner: User,
) -> Result<Option<Secret>, Trouble> {
    let Some(path) = passfile else {
        return Ok(None);
    };
    let path = path.to_owned();
    let text = tokio::task::spawn_blocking(move || private(&path, owner)).await;
    let text = text.map_err(|_| Trouble::Ending)??;
    let wanted = Wanted {
        host: entry.host,
        port: entry.port,
        database: entry.database,
        user: entry.user,
    };
    Ok(passfile::find(&text, wanted))
}

/// The text of the password file. The server and its tools take no notice of one that others may read, and log in without a
/// password: that shows as a refused login, far from its cause.
fn private(path: &Path, owner: User) -> Result<String, Trouble> {
    let refused = |why: String| Trouble::Passfile {
        path: path.to_owned(),
        why,
    };
    let file = files::open(path).map_err(|error| refused(format!("cannot be opened ({error})")))?;
    // Of the open file, so that what was checked is what is read.
    let meta = file.metadata().map_err(files::failed("look at", path))?;
    if meta.mode() & 0o077 != 0 {
        let mode = meta.mode() & 0o7777;
        return Err(refused(format!(
            "can be reached by others (mode {mode:04o})"
        )));
    }
    if meta.uid() != owner.uid {
        let why = format!("belongs to user {}, not to {}", meta.uid(), owner.uid);
        return Err(refused(why));
    }
    files::text(file).map_err(files::failed("read", path))
}
