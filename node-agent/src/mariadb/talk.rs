//! Sessions with servers, the one of this machine and others of the service: each a run of the server's own client.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::Instant;

use super::Trouble;
use crate::group::{Bounds, End, run};
use crate::power::Secret;
use crate::probe::mariadb::{PROGRAMS, Table, error_of, quoted, table};

/// Bytes of an answer that are kept: the sessions of a busy server.
const MAX_ANSWER: usize = 512 << 10;
/// Bytes of what the client says on its standard error that are kept.
const MAX_ERROR: usize = 8 << 10;
/// The longest text of statements: a line of an option file holds no more.
const MAX_TEXT: usize = 3 << 10;
/// How much of what a server says is quoted, in characters.
const QUOTED: usize = 300;

/// Where a server listens.
#[derive(Debug, Clone, Copy)]
pub(super) enum At<'a> {
    /// On this machine.
    Socket(&'a Path),
    /// Elsewhere.
    Host(&'a str, u16),
}

/// Who asks a server, and until when.
#[derive(Debug)]
pub(super) struct Talk {
    server: String,
    user: String,
    options: String,
    until: Instant,
    limit: Duration,
}

impl Talk {
    /// With this server; nothing is sent yet.
    pub(super) fn new(at: At<'_>, user: &str, password: Option<&Secret>, limit: Duration) -> Self {
        let mut options = String::from("[client]\n");
        let server = match at {
            At::Socket(path) => {
                let path = path.display().to_string();
                options.push_str(&format!("protocol=socket\nsocket={}\n", quoted(&path)));
                path
            }
            At::Host(host, port) => {
                options.push_str(&format!(
                    "protocol=tcp\nhost={}\nport={port}\n",
                    quoted(host)
                ));
                match host.contains(':') {
                    true => format!("[{host}]:{port}"),
                    false => format!("{host}:{port}"),
                }
            }
        };
        let seconds = limit.as_secs().max(1);
        let password = quoted(password.map_or("", Secret::expose));
        options.push_str(&format!(
            "user={}\npassword={password}\nconnect-timeout={seconds}\n",
            quoted(user)
        ));
        Self {
            server,
            user: user.to_owned(),
            options,
            until: Instant::now() + limit,
            limit,
        }
    }

    /// Has statements carried out, of which none says anything.
    pub(super) async fn tell(&self, what: &'static str, statements: &str) -> Result<(), Trouble> {
        self.run(what, statements, true).await.map(drop)
    }

    /// The same with a secret in them: what the server says of them is not quoted.
    pub(super) async fn tell_secretly(
        &self,
        what: &'static str,
        statements: &str,
    ) -> Result<(), Trouble> {
        self.run(what, statements, false).await.map(drop)
    }

    /// The one table that statements say.
    pub(super) async fn ask(&self, what: &'static str, statements: &str) -> Result<Table, Trouble> {
        Ok(table(&self.run(what, statements, true).await?))
    }

    /// What two statements say, of which the first says one row.
    pub(super) async fn ask_both(
        &self,
        what: &'static str,
        statements: &str,
    ) -> Result<(Table, Table), Trouble> {
        let text = self.run(what, statements, true).await?;
        // Newlines in values are escaped: the second table begins with the third line.
        let cut = text
            .match_indices('\n')
            .nth(1)
            .map_or(text.len(), |(at, _)| at + 1);
        let (one, more) = text.split_at(cut);
        Ok((table(one), table(more)))
    }

    /// Which server it is with.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    async fn run(
        &self,
        what: &'static str,
        statements: &str,
        tells: bool,
    ) -> Result<String, Trouble> {
        if statements.len() > MAX_TEXT {
            return Err(Trouble::NotDone(format!(
                "would be told more than {MAX_TEXT} bytes at once to {what}"
            )));
        }
        let installed = PROGRAMS.iter().map(Path::new).find(|path| path.exists());
        let program = installed.ok_or(Trouble::NoClient(PROGRAMS[0]))?;
        let left = self.until.saturating_duration_since(Instant::now());
        let mut command = Command::new(program);
        command
            .args(["--defaults-file=/dev/stdin", "--batch"])
            .env_clear()
            .env("LC_ALL", "C")
            .current_dir("/");
        let input = format!("{}[mysql]\nexecute={}\n", self.options, quoted(statements));
        let bounds = Bounds {
            time: left,
            stdout: MAX_ANSWER,
            stderr: MAX_ERROR,
        };
        let finished = run(&mut command, input.as_bytes(), bounds).await;
        let finished = finished.map_err(|source| Trouble::Start {
            program: program.to_owned(),
            source,
        })?;
        let broken = |why: String| Trouble::Broken(self.server.clone(), why);
        match finished.end {
            End::Exited(0) if finished.stdout.len() >= MAX_ANSWER => {
                Err(broken("its answer is too long".to_owned()))
            }
            End::Exited(0) => Ok(String::from_utf8_lossy(&finished.stdout).into_owned()),
            End::Exited(_) => {
                let errors = String::from_utf8_lossy(&finished.stderr);
                // Nothing but that line is quoted: the client repeats the statement before it.
                match error_of(&errors) {
                    Some((number, text)) => Err(self.failed(what, number, &text, tells)),
                    None => Err(broken("the client failed, and says no error".to_owned())),
                }
            }
            End::Signalled(signal) => {
                Err(broken(format!("the client was killed by signal {signal}")))
            }
            End::TimedOut | End::Undead(_) => Err(Trouble::Limit(self.limit)),
        }
    }

    /// What an error means. Numbers from 2000 to 2999 are the client's own, all others the server's (MariaDB documentation,
    /// *MariaDB Error Code Reference*).
    fn failed(&self, what: &'static str, number: u32, text: &str, tells: bool) -> Trouble {
        let text: String = text.chars().take(QUOTED).collect();
        match number {
            2002 | 2003 => Trouble::Connect(self.server.clone(), text),
            2000..=2999 => Trouble::Broken(self.server.clone(), format!("{text} ({number})")),
            1045 | 1130 | 1129 | 1040 | 1698 => Trouble::Login {
                server: self.server.clone(),
                user: self.user.clone(),
                number,
            },
            _ => Trouble::Refused {
                server: self.server.clone(),
                what,
                number,
                why: match tells {
                    true => text,
                    false => "see the server's error log".to_owned(),
                },
            },
        }
    }
}

/// Does nobody listen there? The client tells the error number of the system in the end: no such file, or refused.
pub(super) fn is_refused(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Connect(_, text) if text.ends_with("(2)") || text.ends_with("(111)"))
}

/// A text as SQL has it, where backslashes are escapes.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_within_its_quotes() {
        assert_eq!(literal("a'b\\'c"), "'a''b\\\\''c'");
    }

    #[test]
    fn a_socket_without_a_server_is_told_from_one_that_does_not_answer() {
        let connect = |text: &str| Trouble::Connect("x".to_owned(), text.to_owned());
        assert!(is_refused(&connect(
            "Can't connect to local server through socket '/x' (2)"
        )));
        assert!(is_refused(&connect(
            "Can't connect to local server through socket '/x' (111)"
        )));
        assert!(!is_refused(&connect(
            "Can't connect to local server through socket '/x' (11)"
        )));
        assert!(!is_refused(&Trouble::Ending));
    }
}
