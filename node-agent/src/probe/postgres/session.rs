//! A login, and queries.

use std::io;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use interlock_model::check::{PostgresCheck, ProbeResult, ServerTls};
use md5::{Digest as _, Md5};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::Trust;
use super::super::outcome::{bad, unknown};
use super::super::talk::{Incoming, broke};
use super::super::tls::Stream;
use super::message::{Fields, Message, message, nonsense, startup, text};
use super::scram::{self, Proven, Scram};
use crate::power::Secret;

/// The longest login, and the longest answer to a query, in bytes.
const MAX_ANSWERS: usize = 256 << 10;

/// The question whether the server takes TLS: its length, and a version that none is.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// How this program names itself to the server (`pg_stat_activity`, the server's log).
const APPLICATION: &str = "interlock-agent";

/// The rows of an answer.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// A refusal of the server, with its code (SQLSTATE; PostgreSQL documentation, *Error Codes*).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// Why there are no rows.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The server says why.
    Refused(Refusal),
    /// The connection is of no use any more.
    Broken(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Who comes in, and to what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visitor<'v> {
    /// The database role.
    pub(crate) user: &'v str,
    /// The database; of no meaning for a replication connection.
    pub(crate) database: &'v str,
    /// What it proves itself with, if it is asked to.
    pub(crate) password: Option<&'v Secret>,
    /// Does it come as a standby does? It may then ask for the server's place in its history (PostgreSQL documentation,
    /// *Streaming Replication Protocol*).
    pub(crate) replication: bool,
    /// Does nobody on the way see what is said? Then a password may be said as it is.
    pub(crate) private: bool,
}

/// A connection of a user who was let in.
#[derive(Debug)]
pub(crate) struct Session<'c, S> {
    target: &'c str,
    incoming: Incoming<S>,
}

impl<'c> Session<'c, Box<dyn Stream>> {
    /// Logs in for a check.
    ///
    /// # Errors
    /// With the result of the check.
    pub(super) async fn open(
        stream: TcpStream,
        trust: &Trust,
        check: &'c PostgresCheck,
        password: Option<&Secret>,
    ) -> Result<Self, ProbeResult> {
        let stream: Box<dyn Stream> = match &check.tls {
            None => Box::new(stream),
            Some(tls) => secure(stream, trust, tls, &check.target).await?,
        };
        let user = check.login.user.as_deref().unwrap_or_default();
        let visitor = Visitor {
            user,
            database: &check.database,
            password,
            replication: false,
            private: check.tls.is_some(),
        };
        match Self::enter(stream, &check.target, visitor).await {
            Ok(session) => Ok(session),
            Err(End::Refused(refusal)) => Err(bad(format!(
                "{} refuses the login of {user} to {}: {refusal}",
                check.target, check.database
            ))),
            Err(End::Impostor(error)) => Err(bad(format!("{}: {error}", check.target))),
            Err(End::NoPassword) => Err(unknown(format!(
                "{} asks for a password, and the check has none: add `password: {{ secret: NAME }}`",
                check.target
            ))),
            Err(End::Cannot(why)) => Err(unknown(format!("{} {why}", check.target))),
            Err(End::Broken(error)) => Err(broken(&check.target, &error)),
        }
    }
}

/// Asks the server for TLS, and has it prove who it is (PostgreSQL documentation, *SSL Session Encryption*).
async fn secure(
    mut stream: TcpStream,
    trust: &Trust,
    tls: &ServerTls,
    target: &str,
) -> Result<Box<dyn Stream>, ProbeResult> {
    let mut answer = [0];
    let asked = async {
        stream.write_all(&SSL_REQUEST).await?;
        // Not a byte more than its answer: what came before TLS must not be taken for what is said within.
        stream.read_exact(&mut answer).await
    };
    asked.await.map_err(|error| broken(target, &error))?;
    match answer {
        [b'S'] => trust.secure_server(stream, tls, target).await,
        [b'N'] => Err(bad(format!(
            "{target} takes no TLS: its setting `ssl` is off"
        ))),
        _ => Err(bad(format!(
            "{target} answers the question for TLS with something else; is it a PostgreSQL server?"
        ))),
    }
}

impl<'c, S: AsyncRead + AsyncWrite + Unpin> Session<'c, S> {
    /// Logs in.
    ///
    /// # Errors
    /// If the server does not let the visitor in.
    pub(crate) async fn enter(
        stream: S,
        target: &'c str,
        visitor: Visitor<'_>,
    ) -> Result<Self, End> {
        let mut session = Self {
            target,
            incoming: Incoming::new(stream, MAX_ANSWERS),
        };
        let login = Login {
            visitor,
            session: &mut session,
        };
        login.run().await?;
        Ok(session)
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// With the result of the check. A query that is refused says nothing about the service, and is unknown.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Rows, ProbeResult> {
        match self.rows(sql).await {
            Ok(rows) => Ok(rows),
            Err(Trouble::Refused(refusal)) => Err(unknown(format!(
                "{} lets the user in, but does not answer: {refusal}",
                self.target
            ))),
            Err(Trouble::Broken(error)) => Err(broken(self.target, &error)),
        }
    }

    /// The rows of a query or a replication command.
    ///
    /// # Errors
    /// If the server refuses, or is gone.
    pub(crate) async fn rows(&mut self, sql: &str) -> Result<Rows, Trouble> {
        self.incoming.allow(MAX_ANSWERS);
        self.send(&message(b'Q', &text(sql))).await?;
        let mut rows = Vec::new();
        let mut refusal = None;
        loop {
            let message = Message::read(&mut self.incoming).await?;
            match message.kind {
                b'D' => rows.push(Fields(&message.body).row()?),
                b'E' => refusal = Some(refusal_of(&message.body)?),
                b'Z' => break,
                // What describes rows, ends them or is a notice.
                _ => {}
            }
        }
        match refusal {
            None => Ok(rows),
            Some(refusal) => Err(Trouble::Refused(refusal)),
        }
    }

    /// Says goodbye, so that the server does not log a lost connection.
    pub(crate) async fn close(mut self) {
        // There is nothing left that could fail.
        let _ = self.send(&message(b'X', &[])).await;
        let _ = self.incoming.stream().shutdown().await;
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.incoming.stream().write_all(bytes).await
    }
}

fn broken(target: &str, error: &io::Error) -> ProbeResult {
    let why = format!("{target}: {}", broke(error));
    match error.kind() {
        io::ErrorKind::InvalidData => bad(format!("{why}; is it a PostgreSQL server?")),
        _ => unknown(why),
    }
}

/// A login ends without a session.
#[derive(Debug)]
pub(crate) enum End {
    /// The server says why.
    Refused(Refusal),
    /// The server is not the one that it should be.
    Impostor(scram::Error),
    /// It asks for a password, and none was given.
    NoPassword,
    /// It would take what this program does not have or does not do.
    Cannot(String),
    /// The connection is of no use any more.
    Broken(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

struct Login<'s, 'v, 'c, S> {
    visitor: Visitor<'v>,
    session: &'s mut Session<'c, S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Login<'_, '_, '_, S> {
    async fn run(mut self) -> Result<(), End> {
        let mut first = vec![
            ("user", self.visitor.user),
            ("database", self.visitor.database),
            ("application_name", APPLICATION),
            ("client_encoding", "UTF8"),
        ];
        if self.visitor.replication {
            first.push(("replication", "true"));
        }
        let first = startup(&first);
        self.session.send(&first).await?;
        let mut authenticated = false;
        loop {
            let message = self.next().await?;
            match message.kind {
                b'R' => authenticated = self.authenticate(&message.body).await?,
                b'Z' if authenticated => return Ok(()),
                b'Z' => return Err(nonsense("that it is ready before the login").into()),
                // Parameters, the key to cancel, notices.
                _ => {}
            }
        }
    }

    /// The next message that is no refusal.
    async fn next(&mut self) -> Result<Message, End> {
        let message = Message::read(&mut self.session.incoming).await?;
        if message.kind == b'E' {
            return Err(End::Refused(refusal_of(&message.body)?));
        }
        Ok(message)
    }

    /// Does what a request asks for; true if that was the last.
    async fn authenticate(&mut self, body: &[u8]) -> Result<bool, End> {
        let mut fields = Fields(body);
        match fields.int32()? {
            0 => return Ok(true),
            3 if self.visitor.private => {
                let password = text(self.password()?.expose());
                self.session.send(&message(b'p', &password)).await?;
            }
            3 => {
                return Err(End::Cannot(
                    "asks for the password in clear text, which is not sent over a connection without TLS: let it ask \
                     for scram-sha-256 (pg_hba.conf)"
                        .to_owned(),
                ));
            }
            5 => {
                let salt = fields.bytes(4)?.to_vec();
                let answer = md5_answer(self.visitor.user, self.password()?.expose(), &salt);
                self.session.send(&message(b'p', &text(&answer))).await?;
            }
            10 => self.scram(fields).await?,
            other => {
                let how = match other {
                    7 | 9 => "GSSAPI or SSPI".to_owned(),
                    other => format!("method {other}"),
                };
                return Err(End::Cannot(format!(
                    "asks for a login by {how}, which this check cannot do"
                )));
            }
        }
        Ok(false)
    }

    fn password(&self) -> Result<&Secret, End> {
        self.visitor.password.ok_or(End::NoPassword)
    }

    async fn scram(&mut self, mut mechanisms: Fields<'_>) -> Result<(), End> {
        const MECHANISM: &str = "SCRAM-SHA-256";
        let mut offered = false;
        // The list ends with an empty text.
        while let Ok(name) = mechanisms.text() {
            offered |= name == MECHANISM;
        }
        if !offered {
            return Err(End::Cannot(format!("offers no login by {MECHANISM}")));
        }
        let mut random = [0; 18];
        rand::fill(&mut random)
            .map_err(|_| End::Cannot("was not asked: no random numbers".to_owned()))?;
        let scram = Scram::new(BASE64.encode(random));
        let first = scram.first();
        let mut body = text(MECHANISM);
        body.extend(u32::try_from(first.len()).unwrap_or_default().to_be_bytes());
        body.extend(first.bytes());
        self.password()?;
        self.session.send(&message(b'p', &body)).await?;

        let challenge = self.sasl(11).await?;
        let (closing, proven) = scram
            .proof(&challenge, self.password()?.expose())
            .map_err(ended)?;
        self.session
            .send(&message(b'p', closing.as_bytes()))
            .await?;
        self.trust(&proven).await
    }

    async fn trust(&mut self, proven: &Proven) -> Result<(), End> {
        let last = self.sasl(12).await?;
        proven.verify(&last).map_err(ended)
    }

    /// What the server says in the exchange: a request of this number.
    async fn sasl(&mut self, number: i32) -> Result<String, End> {
        let message = self.next().await?;
        let mut fields = Fields(&message.body);
        if message.kind != b'R' || fields.int32()? != number {
            return Err(nonsense("something else than the next step of the login").into());
        }
        Ok(String::from_utf8_lossy(fields.0).into_owned())
    }
}

fn ended(error: scram::Error) -> End {
    match error {
        scram::Error::Impostor => End::Impostor(error),
        scram::Error::Malformed | scram::Error::TooManyRounds => {
            End::Cannot(format!("cannot be logged in to: {error}"))
        }
    }
}

/// The answer to a request for an MD5 password, as servers before version 14 ask by default.
fn md5_answer(user: &str, password: &str, salt: &[u8]) -> String {
    let hex = |parts: &[&[u8]]| {
        let mut hash = Md5::new();
        parts.iter().for_each(|part| hash.update(part));
        let digest = hash.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let inner: String = hex(&[password.as_bytes(), user.as_bytes()]);
    let outer: String = hex(&[inner.as_bytes(), salt]);
    format!("md5{outer}")
}

/// An error message: fields of a letter and a text.
fn refusal_of(body: &[u8]) -> io::Result<Refusal> {
    let mut fields = Fields(body);
    let mut refusal = Refusal {
        code: String::new(),
        message: String::new(),
    };
    while let [kind, ..] = fields.bytes(1)?
        && *kind != 0
    {
        let value = fields.text()?;
        match kind {
            b'C' => refusal.code = value,
            b'M' => refusal.message = value,
            _ => {}
        }
    }
    Ok(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_code_and_its_message() {
        let body = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"app\"\0Fauth.c\0\0";
        assert_eq!(
            refusal_of(body).unwrap().to_string(),
            "password authentication failed for user \"app\" (28P01)"
        );
        assert!(refusal_of(b"SFATAL").is_err());
    }
}
