//! From a check of the spec to the probe that carries it out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use interlock_model::check::{CheckKind, Compared, ProbeResult};
use interlock_model::names::LocalName;

use super::command::CommandRunner;
use super::files::{FileProbes, Marker};
use super::outcome::unknown;
use super::talk::Patience;
use super::{
    Names, Passwords, PutOut, Trust, address, clock, command, haproxy, http, mariadb, mount,
    postgres, redis, tcp, unit, websocket,
};
use crate::power::Secret;
use crate::systemd::Systemd;

/// How much longer than its limit a probe may take to clean up after itself before it is given up: file probes and
/// commands kill a process group first.
const GRACE: Duration = Duration::from_secs(5);

/// What probes need of the machine. Clones share it.
#[derive(Clone)]
pub struct Tools {
    /// Runs `exec` checks.
    pub runner: Arc<dyn CommandRunner>,
    /// Answers `unit` checks.
    pub systemd: Systemd,
    /// Reads the files of `marker` and `same` checks.
    pub files: Arc<FileProbes>,
    /// Looks host names up.
    pub names: Names,
    /// Has the passwords that checks log in with.
    pub passwords: Passwords,
    /// Verifies the certificates of servers.
    pub trust: Trust,
    /// Knows who is out of a load balancer because a plan has put him out.
    pub put_out: Arc<dyn PutOut>,
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tools")
            .field("systemd", &self.systemd)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Tools {
    /// Runs one check once. Ends within `limit` plus the moments that killing takes, whatever hangs; dropping the future
    /// ends it at once. A limit that passes is *unknown*.
    pub async fn run(&self, kind: &CheckKind, limit: Duration) -> ProbeResult {
        let outer = match kind {
            // These keep their limit by themselves, and say what they were at; or have to kill something first.
            CheckKind::Http { .. }
            | CheckKind::Marker { .. }
            | CheckKind::Same { .. }
            | CheckKind::Exec { .. }
            | CheckKind::Redis(_)
            | CheckKind::Postgres(_)
            | CheckKind::Mariadb(_)
            | CheckKind::Mount(_)
            | CheckKind::Websocket { .. }
            | CheckKind::Clock(_) => limit + GRACE,
            CheckKind::Tcp { .. }
            | CheckKind::Unit { .. }
            | CheckKind::Address { .. }
            | CheckKind::Haproxy(_) => limit,
        };
        match tokio::time::timeout(outer, self.dispatch(kind, limit)).await {
            Ok(result) => result,
            Err(_) => unknown(format!("no answer within {limit:?}")),
        }
    }

    /// A run is as large as the largest of these, and is moved from hand to hand until it is where it stays. So what talks at
    /// length is put aside.
    async fn dispatch(&self, kind: &CheckKind, limit: Duration) -> ProbeResult {
        let patience = Patience::new(limit);
        let password = match kind.password() {
            None => None,
            Some(name) => match Box::pin(self.password(name, limit)).await {
                Ok(password) => Some(password),
                Err(result) => return result,
            },
        };
        let password = password.as_ref();
        match kind {
            CheckKind::Tcp { target } => tcp::probe(&self.names, target, limit).await,
            CheckKind::Http {
                url,
                server_name,
                status,
                body,
                json,
                paused,
                why,
            } => {
                Box::pin(http::probe(
                    &self.names,
                    &self.trust,
                    url,
                    server_name.as_deref(),
                    http::Expected {
                        status,
                        body: body.as_deref(),
                        json,
                        paused,
                        why: why.as_deref(),
                    },
                    patience,
                ))
                .await
            }
            CheckKind::Exec { command } => {
                Box::pin(command::probe(&*self.runner, command, limit)).await
            }
            CheckKind::Unit { unit } => Box::pin(unit::probe(&self.systemd, unit)).await,
            CheckKind::Marker {
                path,
                content,
                write,
            } => {
                let expected = Marker {
                    content: content.as_deref(),
                    write: *write,
                };
                Box::pin(self.files.marker(path, expected, limit)).await
            }
            CheckKind::Same {
                what: Compared::Path(path),
            } => Box::pin(self.files.same(path, limit)).await,
            CheckKind::Same {
                what: Compared::Command(command),
            } => Box::pin(command::same(&*self.runner, command, limit)).await,
            CheckKind::Address { ip } => address::probe(ip),
            CheckKind::Redis(check) => {
                Box::pin(redis::probe(
                    &self.names,
                    &self.trust,
                    check,
                    password,
                    patience,
                ))
                .await
            }
            CheckKind::Postgres(check) => {
                Box::pin(postgres::probe(
                    &self.names,
                    &self.trust,
                    check,
                    password,
                    patience,
                ))
                .await
            }
            CheckKind::Mariadb(check) => {
                Box::pin(mariadb::probe(
                    &self.names,
                    &self.trust,
                    check,
                    password,
                    patience,
                ))
                .await
            }
            CheckKind::Mount(check) => Box::pin(mount::probe(&self.files, check, limit)).await,
            CheckKind::Websocket {
                url,
                server_name,
                origin,
            } => {
                let upgrade = websocket::Upgrade {
                    url,
                    server_name: server_name.as_deref(),
                    origin: origin.as_deref(),
                };
                Box::pin(websocket::probe(
                    &self.names,
                    &self.trust,
                    upgrade,
                    patience,
                ))
                .await
            }
            CheckKind::Clock(check) => Box::pin(clock::probe(&self.names, check, patience)).await,
            CheckKind::Haproxy(check) => Box::pin(haproxy::probe(check, &*self.put_out)).await,
        }
    }

    /// A password; the result of the check instead if it cannot be had.
    async fn password(&self, name: &LocalName, limit: Duration) -> Result<Secret, ProbeResult> {
        match tokio::time::timeout(limit, self.passwords.read(name)).await {
            Ok(Ok(secret)) => Ok(secret),
            Ok(Err(why)) => Err(unknown(why)),
            Err(_) => Err(unknown(format!(
                "the secret {name} cannot be read within {limit:?}"
            ))),
        }
    }
}
