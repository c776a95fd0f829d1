//! One run of the `mariadb` client.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interlock_model::check::{MariadbCheck, ProbeResult};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::super::outcome::{bad, unknown};
use super::super::talk::Patience;
use super::super::{Names, Trust};
use crate::group::{Bounds, End, run};
use crate::power::Secret;

/// Where the client is, under its present and its former name.
pub(crate) const PROGRAMS: [&str; 4] = [
    "/usr/bin/mariadb",
    "/usr/local/bin/mariadb",
    "/usr/bin/mysql",
    "/usr/local/bin/mysql",
];

/// Bytes of an answer that are kept: the status of some dozens of connections.
const MAX_ANSWER: usize = 256 << 10;
/// Bytes of an error message that are kept.
const MAX_ERROR: usize = 4 << 10;

/// The time that is left to the client's own limit, so that it can tell what it was at.
const AHEAD: Duration = Duration::from_millis(500);

/// What the client says if the server was gone before its first packet.
const BEFORE_A_WORD: &str = "initial communication packet";

/// A table of an answer: rows of columns with their names.
pub(crate) type Table = Vec<Vec<(String, String)>>;

/// The client, ready to ask one server.
pub(super) struct Client<'c> {
    program: PathBuf,
    target: &'c str,
    user: &'c str,
    options: String,
    names: &'c Names,
    patience: Patience,
}

/// A statement was not answered with a table.
pub(super) enum Trouble {
    /// The server's error, by its number.
    Refused(u32, String),
    /// The result that the check has instead.
    Over(ProbeResult),
}

impl<'c> Client<'c> {
    /// The client of this machine.
    ///
    /// # Errors
    /// With the result that the check has instead.
    pub(super) fn find(
        names: &'c Names,
        trust: &Trust,
        check: &'c MariadbCheck,
        password: Option<&Secret>,
        patience: Patience,
    ) -> Result<Self, ProbeResult> {
        let installed = PROGRAMS.iter().map(Path::new).find(|path| path.exists());
        let program = installed.ok_or_else(|| {
            unknown(format!(
                "{} was not asked: there is no {} on this machine; install mariadb-client",
                check.target, PROGRAMS[0]
            ))
        })?;
        let authorities = match check.tls {
            None => None,
            Some(_) => Some(
                trust
                    .bundle()
                    .map_err(|why| unknown(format!("cannot verify certificates: {why}")))?,
            ),
        };
        let options = options(check, password, authorities.as_deref(), patience.left())
            .ok_or_else(|| unknown(format!("{} is not host:port", check.target)))?;
        Ok(Self {
            program: program.to_owned(),
            target: &check.target,
            user: check.login.user.as_deref().unwrap_or_default(),
            options,
            names,
            patience,
        })
    }

    /// What the server says to one statement.
    pub(super) async fn ask(&self, statement: &str) -> Result<Table, Trouble> {
        let mut command = Command::new(&self.program);
        command
            .arg("--defaults-file=/dev/stdin")
            .arg("--batch")
            .arg(format!("--execute={statement}"))
            .env_clear()
            .env("LC_ALL", "C")
            .current_dir("/");
        let bounds = Bounds {
            time: self.patience.left(),
            stdout: MAX_ANSWER,
            stderr: MAX_ERROR,
        };
        let over = |result| Err(Trouble::Over(result));
        let target = self.target;
        let finished = match run(&mut command, self.options.as_bytes(), bounds).await {
            Ok(finished) => finished,
            Err(error) => {
                let program = self.program.display();
                return over(unknown(format!("cannot start {program}: {error}")));
            }
        };
        let errors = String::from_utf8_lossy(&finished.stderr);
        match finished.end {
            End::Exited(0) if finished.stdout.len() >= MAX_ANSWER => {
                over(unknown(format!("{target}: its answer is too long")))
            }
            End::Exited(0) => Ok(table(&String::from_utf8_lossy(&finished.stdout))),
            End::Exited(_) => self.failed(&errors).await,
            End::Signalled(signal) => over(unknown(format!(
                "{target}: the client was killed by signal {signal}"
            ))),
            End::TimedOut | End::Undead(_) => over(unknown(format!(
                "{target} gave the client no answer within the time limit"
            ))),
        }
    }

    /// What an error of the client means. Numbers from 2000 to 2999 are the client's own, all others the server's
    /// (MariaDB documentation, *MariaDB Error Code Reference*).
    async fn failed(&self, errors: &str) -> Result<Table, Trouble> {
        let target = self.target;
        let Some((number, text)) = error_of(errors) else {
            let said = errors.lines().next().unwrap_or_default();
            return Err(Trouble::Over(unknown(format!(
                "{target}: the client failed: {said}"
            ))));
        };
        let result = match number {
            // No connection. Why is not to be had from the client, whose error number is another one by then (115): a
            // port that refuses is an answer, and silence is none.
            2002 | 2003 => match self.patience.connect(self.names, target).await {
                Err(result) => result,
                Ok(_) => unknown(format!("{target}: {text} ({number})")),
            },
            // Access, database, host not allowed, host blocked, too many connections, access to the database.
            1045 | 1049 | 1130 | 1129 | 1040 | 1044 | 1698 => bad(format!(
                "{target} refuses the login of {}: {text} ({number})",
                self.user
            )),
            // TLS: the server's certificate, or something of this machine.
            2026 if text.contains("certificate") => bad(format!(
                "{target}: its certificate does not prove who it is: {text} ({number})"
            )),
            2013 if text.contains(BEFORE_A_WORD) => self.greeting(&text).await,
            2000..=2999 => unknown(format!("{target}: {text} ({number})")),
            _ => return Err(Trouble::Refused(number, text)),
        };
        Err(Trouble::Over(result))
    }

    /// Who took the connection, and was gone before the greeting? The client tells the same of silence and of an end, so the
    /// agent listens itself: an end without a word is an answer, as a port that refuses is. A load balancer gives it that has
    /// no server.
    async fn greeting(&self, text: &str) -> ProbeResult {
        let target = self.target;
        let mut stream = match self.patience.connect(self.names, target).await {
            Ok(stream) => stream,
            Err(result) => return result,
        };
        let listening = async {
            match stream.read_u8().await.map_err(|error| error.kind()) {
                Err(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => bad(format!(
                    "{target} accepts connections and closes them before a greeting: as a load balancer does that has no server"
                )),
                Ok(_) | Err(_) => unknown(format!("{target}: {text}")),
            }
        };
        self.patience.talk(target, listening).await
    }
}

/// The option file that the client reads.
fn options(
    check: &MariadbCheck,
    password: Option<&Secret>,
    authorities: Option<&Path>,
    limit: Duration,
) -> Option<String> {
    let (host, port) = check.target.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // The client's own limit counts whole seconds; ours ends it in any case.
    let seconds = limit.saturating_sub(AHEAD).as_secs().max(1);
    let mut text = format!(
        "[client]\nprotocol=tcp\nconnect-timeout={seconds}\nhost={}\nport={}\n",
        quoted(host),
        quoted(port)
    );
    if let Some(authorities) = authorities {
        // Without the second line any certificate of theirs would do, for whatever host.
        text.push_str(&format!(
            "ssl-ca={}\nssl-verify-server-cert\n",
            quoted(&authorities.display().to_string())
        ));
    }
    let values = [
        ("user", check.login.user.as_deref()),
        ("password", Some(password.map_or("", Secret::expose))),
        ("database", check.database.as_deref()),
    ];
    // Only the command-line client knows the option `database`.
    for (name, value) in values {
        let Some(value) = value else { continue };
        let section = if name == "database" { "[mysql]\n" } else { "" };
        text.push_str(&format!("{section}{name}={}\n", quoted(value)));
    }
    Some(text)
}

/// A value as option files have it: in quotes, with escapes.
pub(crate) fn quoted(value: &str) -> String {
    let mut text = String::from('"');
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// The first `ERROR 1045 (28000): Access denied ...` of what the client says; `ERROR 1064 (42000) at line 1: ...` of
/// statements.
pub(crate) fn error_of(errors: &str) -> Option<(u32, String)> {
    errors.lines().find_map(|line| {
        let rest = line.strip_prefix("ERROR ")?;
        let (number, rest) = rest.split_once(' ')?;
        let (_, text) = rest.split_once(": ")?;
        Some((number.parse().ok()?, text.trim().to_owned()))
    })
}

/// What `--batch` prints: a line of names, and one per row, separated by tabs. Tabs and newlines in values are escaped.
pub(crate) fn table(text: &str) -> Table {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines
        .map(|line| {
            let values = line.split('\t').map(str::to_owned);
            names
                .iter()
                .map(|name| (*name).to_owned())
                .zip(values)
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use interlock_model::check::Login;

    use super::*;

    #[test]
    fn a_password_stands_in_the_options_as_it_is() {
        let check = MariadbCheck {
            target: "[fd00::1]:3306".to_owned(),
            login: Login {
                user: Some("mon itor".to_owned()),
                password: None,
            },
            database: Some("app".to_owned()),
            writable: None,
            replicating: false,
            source: None,
            max_lag: None,
            tls: None,
        };
        let password = Secret::new("a\"b\\c#d;\n[mysql]\nhost=evil");
        let text = options(&check, Some(&password), None, Duration::from_secs(5)).unwrap();
        assert_eq!(
            text,
            "[client]\nprotocol=tcp\nconnect-timeout=4\nhost=\"fd00::1\"\nport=\"3306\"\nuser=\"mon itor\"\n\
             password=\"a\\\"b\\\\c#d;\\n[mysql]\\nhost=evil\"\n[mysql]\ndatabase=\"app\"\n"
        );
    }

    #[test]
    fn errors_of_client_and_server_have_their_numbers() {
        let text = "WARNING: option --x\nERROR 1045 (28000): Access denied for user 'x'@'h' (using password: YES)\n";
        assert_eq!(
            error_of(text),
            Some((
                1045,
                "Access denied for user 'x'@'h' (using password: YES)".to_owned()
            ))
        );
        let statement = "ERROR 1227 (42000) at line 1: Access denied; you need SLAVE MONITOR";
        assert_eq!(error_of(statement).map(|(number, _)| number), Some(1227));
        assert_eq!(error_of("Segmentation fault"), None);
    }
}
