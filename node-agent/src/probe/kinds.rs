//! From a check of the spec to the probe that carries it out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use interlock_model::check::{CheckKind, ProbeResult};

use super::Names;
use super::command::CommandRunner;
use super::files::{FileProbes, Marker};
use super::outcome::unknown;
use super::{address, command, http, tcp, unit};
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
            CheckKind::Marker { .. } | CheckKind::Same { .. } | CheckKind::Exec { .. } => {
                limit + GRACE
            }
            CheckKind::Tcp { .. }
            | CheckKind::Http { .. }
            | CheckKind::Unit { .. }
            | CheckKind::Address { .. } => limit,
        };
        match tokio::time::timeout(outer, self.dispatch(kind, limit)).await {
            Ok(result) => result,
            Err(_) => unknown(format!("no answer within {limit:?}")),
        }
    }

    async fn dispatch(&self, kind: &CheckKind, limit: Duration) -> ProbeResult {
        match kind {
            CheckKind::Tcp { target } => tcp::probe(&self.names, target, limit).await,
            CheckKind::Http {
                url,
                status,
                body,
                json,
                paused,
                why,
            } => {
                http::probe(
                    &self.names,
                    url,
                    http::Expected {
                        status,
                        body: body.as_deref(),
                        json,
                        paused,
                        why: why.as_deref(),
                    },
                    limit,
                )
                .await
            }
            CheckKind::Exec { command } => command::probe(&*self.runner, command, limit).await,
            CheckKind::Unit { unit } => unit::probe(&self.systemd, unit).await,
            CheckKind::Marker {
                path,
                content,
                write,
            } => {
                let expected = Marker {
                    content: content.as_deref(),
                    write: *write,
                };
                self.files.marker(path, expected, limit).await
            }
            CheckKind::Same { path } => self.files.same(path, limit).await,
            CheckKind::Address { ip } => address::probe(ip),
        }
    }
}
