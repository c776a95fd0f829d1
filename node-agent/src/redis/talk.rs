//! Sessions with servers: the one of this machine, and others of the service.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

use super::Trouble;
use super::facts::Facts;
use crate::power::Secret;
use crate::probe::{Reply, Resp, broke, safe_refusal};

/// The longest answer, in bytes: `INFO` of a server with hundreds of databases and replicas.
const MAX_ANSWER: usize = 256 << 10;

/// How much of what a server says is quoted, in characters.
const QUOTED: usize = 200;

/// A session with a server.
#[derive(Debug)]
pub(super) struct Talk {
    server: String,
    resp: Resp<TcpStream>,
}

impl Talk {
    /// Connects, and logs in if there is a password.
    pub(super) async fn open(
        host: &str,
        port: u16,
        user: Option<&str>,
        password: Option<&Secret>,
    ) -> Result<Self, Trouble> {
        let server = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let stream = TcpStream::connect((host, port)).await;
        let stream = stream.map_err(|error| Trouble::Connect(server.clone(), error))?;
        // What is asked is small, and somebody waits for it.
        let _ = stream.set_nodelay(true);
        let mut talk = Self {
            server,
            resp: Resp::new(stream, MAX_ANSWER),
        };
        if let Some(password) = password {
            talk.log_in(user, password).await?;
        }
        Ok(talk)
    }

    async fn log_in(&mut self, user: Option<&str>, password: &Secret) -> Result<(), Trouble> {
        let mut command = vec!["AUTH"];
        command.extend(user);
        command.push(password.expose());
        match self.answer(&command).await?.text() {
            Ok(Ok(text)) if text == "OK" => Ok(()),
            Ok(Ok(text) | Err(text)) => {
                Err(Trouble::Login(self.server.clone(), safe_refusal(&text)))
            }
            Err(error) => Err(Trouble::Broken(self.server.clone(), error.to_string())),
        }
    }

    /// The answer to a command; a refusal is an error, which names the command and none of its arguments.
    pub(super) async fn ask(&mut self, command: &[&str]) -> Result<Reply, Trouble> {
        match self.answer(command).await? {
            Reply::Error(text) => Err(Trouble::Refused {
                server: self.server.clone(),
                command: command.first().copied().unwrap_or_default().to_owned(),
                why: text.chars().take(QUOTED).collect(),
            }),
            reply => Ok(reply),
        }
    }

    /// Has a command carried out.
    pub(super) async fn tell(&mut self, command: &[&str]) -> Result<(), Trouble> {
        self.ask(command).await.map(drop)
    }

    /// What the server says of itself.
    pub(super) async fn facts(&mut self) -> Result<Facts, Trouble> {
        const INFO: [&str; 5] = ["INFO", "server", "persistence", "replication", "keyspace"];
        let facts = match self.ask(&INFO).await? {
            Reply::Text(text) => Facts::read(&text),
            other => Err(format!("{other:?}")),
        };
        facts.map_err(|what| Trouble::Answer {
            server: self.server.clone(),
            command: "INFO",
            what,
        })
    }

    /// A setting of the server.
    pub(super) async fn setting(&mut self, name: &'static str) -> Result<String, Trouble> {
        match self.ask(&["CONFIG", "GET", name]).await? {
            Reply::List(pair) if pair.len() == 2 => Ok(pair[1].clone()),
            other => Err(Trouble::Answer {
                server: self.server.clone(),
                command: "CONFIG GET",
                what: format!("{name}: {other:?}"),
            }),
        }
    }

    /// How many listen to a channel.
    pub(super) async fn listeners(&mut self, channel: &str) -> Result<u64, Trouble> {
        let reply = self.ask(&["PUBSUB", "NUMSUB", channel]).await?;
        let count = match &reply {
            Reply::List(pair) => pair.get(1).and_then(|count| count.parse().ok()),
            _ => None,
        };
        count.ok_or_else(|| Trouble::Answer {
            server: self.server.clone(),
            command: "PUBSUB NUMSUB",
            what: format!("{reply:?}"),
        })
    }

    /// Which server it is with.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    async fn answer(&mut self, command: &[&str]) -> Result<Reply, Trouble> {
        self.resp.allow(MAX_ANSWER);
        let answer = self.resp.ask(command).await;
        answer.map_err(|error| Trouble::Broken(self.server.clone(), broke(&error)))
    }
}

/// Work that is given up when its time is over.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or(Err(Trouble::Limit(limit)))
}

/// Does nobody listen there?
pub(super) fn is_refused(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Connect(_, error) if error.kind() == io::ErrorKind::ConnectionRefused)
}
