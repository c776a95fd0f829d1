//! nginx open source: a file of its configuration, and a reload.
//!
//! nginx has no runtime socket. A member is out when its `server` line in the file says `down`, and the workers that run
//! have read that. It is never deleted: with `ip_hash` that would send most clients to another member, where `down` moves
//! only those of the member itself.
//!
//! # A change
//! ```text
//! note what the file said ──► replace the file ──► nginx -t ──► reload ──► no worker serves that served before ──► drop the note
//!                                                   │ refuses    │ not taken
//!                                                   └────────────┴──► put the file back, say what nginx said
//! ```
//! The note lies in the agent's own directory while a change is under way. An agent that finds one was ended in the
//! middle: it tests and reloads what the file says, or puts it back. A file that somebody else has changed meanwhile is
//! theirs, and is never put back.
//!
//! # What is known of a member
//! Whether the file has it `down`, and how many connections the workers have to it, of which the kernel knows. nginx has
//! no checks of its own and no count of sessions.

mod error;
mod file;
mod verdict;
mod workers;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::{Admin, Server, connections};
use crate::config;
use crate::group::End;
use crate::replace;
use crate::tool::{self, Printed, blocking};
use error::{Left, Whose};
use file::Upstream;
use verdict::Verdict;
use workers::{Master, Workers};

pub(crate) use error::Error;

/// How long `nginx -t` and a command that reloads may take: they look names up.
const COMMAND: Duration = Duration::from_secs(30);

/// How long the master may take to start new workers and to tell the others to end.
const RELOAD: Duration = Duration::from_secs(30);

/// The pause between two looks at the workers.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// The port of a `server` line that names none.
const PORT: u16 = 80;

/// An nginx, by the file that lists its members.
#[derive(Debug, Clone)]
pub(crate) struct Nginx {
    how: config::Nginx,
    /// Where the note of a change under way is.
    note: PathBuf,
    /// Held by whoever changes the file.
    turn: Arc<Mutex<()>>,
}

/// What is remembered of a change until it is over.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    before: String,
    after: String,
}

impl Nginx {
    /// The nginx that the agent's own file describes. Notes are kept in `directory`; `turn` is that of its file.
    pub(crate) fn new(how: config::Nginx, directory: &Path, turn: Arc<Mutex<()>>) -> Self {
        let digest = Sha256::digest(how.file.as_os_str().as_encoded_bytes());
        let name: String = digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            how,
            note: directory.join(format!("nginx-{name}.json")),
            turn,
        }
    }

    /// What is wanted of a server, as the file says it and the workers have read it.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) async fn glance(&self, upstream: &str, server: &str) -> Result<Server, Error> {
        let _turn = self.turn.lock().await;
        self.master().await?;
        self.finish(server).await?;
        let text = self.read().await?;
        let down = self.upstream(&text, upstream).and_then(|found| {
            found
                .is_down(upstream, server)
                .map_err(|source| self.unclear(source))
        })?;
        Ok(Server {
            admin: if down { Admin::Maint } else { Admin::Ready },
            status: if down { "down" } else { "in use" }.to_owned(),
            up: !down,
            reached: !down,
            checked: String::new(),
            sessions: 0,
            counted: "connections",
        })
    }

    /// The same, with the connections to it.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) async fn look(&self, upstream: &str, server: &str) -> Result<Server, Error> {
        let seen = self.glance(upstream, server).await?;
        let master = self.master().await?;
        let workers = workers_of(master).await?;
        let ending = u64::try_from(workers.ending.len()).unwrap_or(u64::MAX);
        let counted = match addresses(server).await {
            Ok(to) => {
                let all = workers.serving.into_iter().chain(workers.ending).collect();
                blocking(move || connections::count(&all, &to)).await
            }
            Err(error) => Err(error),
        };
        Ok(match counted {
            Ok(sessions) => Server { sessions, ..seen },
            // When the last worker of before has ended, so has whatever it had with this member.
            Err(error) => {
                tracing::debug!(server, %error, "its connections cannot be counted");
                Server {
                    sessions: ending,
                    counted: "workers of before the change",
                    ..seen
                }
            }
        })
    }

    /// Says what is wanted of a server, and has the workers read it. nginx knows no `drain`: that is `down` as well. What
    /// has begun goes on when nobody waits for it any more.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) async fn set(
        &self,
        upstream: &str,
        server: &str,
        admin: Admin,
    ) -> Result<(), Error> {
        let (nginx, upstream, server) = (self.clone(), upstream.to_owned(), server.to_owned());
        let change = async move {
            nginx
                .change(&upstream, &server, admin != Admin::Ready)
                .await
        };
        let changed = tokio::spawn(change).await;
        changed.map_err(|error| Error::Processes(io::Error::other(error)))?
    }

    async fn change(&self, upstream: &str, server: &str, down: bool) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let master = self.master().await?;
        self.finish(server).await?;
        let before = self.read().await?;
        let after = self
            .upstream(&before, upstream)?
            .with(upstream, server, down)
            .map_err(|source| self.unclear(source))?;
        if after == before {
            return Ok(());
        }
        let note = Note { before, after };
        self.note(&note).await?;
        if let Err(error) = self.replace(&note.before, &note.after).await {
            self.forget().await?;
            return Err(error);
        }
        self.load(master, server, &note).await?;
        self.forget().await
    }

    /// Ends what an agent has begun that was killed in the middle of it.
    async fn finish(&self, server: &str) -> Result<(), Error> {
        let path = self.note.clone();
        let bytes = match blocking(move || fs::read(path)).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(self.read_error(source)),
        };
        // What was half written was never followed by a change.
        if let Ok(note) = serde_json::from_slice::<Note>(&bytes)
            && self.read().await? == note.after
        {
            tracing::warn!(file = %self.how.file.display(), "a change that an earlier agent has begun is gone on with");
            self.load(self.master().await?, server, &note).await?;
        }
        self.forget().await
    }

    /// Has the workers read the file, which was just changed; puts it back if they do not.
    async fn load(&self, master: Master, server: &str, note: &Note) -> Result<(), Error> {
        if let Err(trouble) = self.test().await {
            let left = self.put_back(note).await;
            return Err(match trouble {
                Ok(verdict) => {
                    let whose = self.whose(&verdict, server, &left).await;
                    Error::Refused {
                        verdict,
                        whose,
                        left,
                    }
                }
                Err(source) => Error::Run {
                    program: self.how.test.join(" "),
                    left,
                    source,
                },
            });
        }
        let before = workers_of(master).await?;
        let Err(how) = self.reload(master, &before).await else {
            return Ok(());
        };
        let left = self.put_back(note).await;
        // Whatever was read of the change is not to stay.
        if let Err(error) = self.tell(master).await {
            tracing::warn!("nginx was not told that its file is as it was: {error}");
        }
        Err(Error::NotReloaded { how, left })
    }

    /// What a refusal has to do with the change, which is taken back by now.
    async fn whose(&self, verdict: &Verdict, server: &str, left: &Left) -> Whose {
        let before = matches!(left, Left::AsItWas(_)) && self.test().await.is_err();
        match verdict {
            _ if verdict.is_about(server) => Whose::Own,
            Verdict::Unresolvable { .. } => Whose::Other,
            _ if before => Whose::Before,
            Verdict::Other(_) | Verdict::Late => Whose::Change,
        }
    }

    /// Does nginx take what its files say? If not: why not, or why it could not be asked.
    async fn test(&self) -> Result<(), Result<Verdict, io::Error>> {
        let printed = tool::run(&self.how.test, COMMAND).await.map_err(Err)?;
        match printed {
            Printed {
                end: End::Exited(0),
                ..
            } => Ok(()),
            Printed {
                end: End::TimedOut | End::Undead(_),
                ..
            } => Err(Ok(Verdict::Late)),
            Printed { text, .. } => Err(Ok(Verdict::read(&text))),
        }
    }

    /// Has the master reload, and waits until none of the workers of before serves any more.
    async fn reload(&self, master: Master, before: &Workers) -> Result<(), String> {
        self.tell(master).await?;
        let until = Instant::now() + RELOAD;
        loop {
            let now = workers_of(master)
                .await
                .map_err(|error| error.to_string())?;
            if !now.serving.is_empty() && now.serving.is_disjoint(&before.serving) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(format!("its workers are the same {RELOAD:?} later"));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Tells nginx to reload, in the way that the agent's own file wants.
    async fn tell(&self, master: Master) -> Result<(), String> {
        let Some(command) = &self.how.reload else {
            return match master.hang_up() {
                Ok(true) => Ok(()),
                Ok(false) => Err("its master process is gone".to_owned()),
                Err(error) => Err(format!("its master process cannot be told: {error}")),
            };
        };
        let shown = command.join(" ");
        match tool::run(command, COMMAND).await {
            Ok(Printed {
                end: End::Exited(0),
                ..
            }) => Ok(()),
            Ok(Printed {
                end: End::Exited(code),
                text,
            }) => {
                let said = text.lines().next().unwrap_or_default().trim().to_owned();
                Err(format!("`{shown}` ended with exit code {code}: {said}"))
            }
            Ok(Printed {
                end: End::Signalled(signal),
                ..
            }) => Err(format!("`{shown}` was killed by signal {signal}")),
            Ok(Printed {
                end: End::TimedOut | End::Undead(_),
                ..
            }) => Err(format!("`{shown}` has not ended within {COMMAND:?}")),
            Err(error) => Err(format!("`{shown}` cannot be run: {error}")),
        }
    }

    /// Puts the file back and forgets the change, unless somebody else has changed it since.
    async fn put_back(&self, note: &Note) -> Left {
        let file = self.how.file.clone();
        let put_back = async {
            self.replace(&note.after, &note.before).await?;
            self.forget().await
        };
        match put_back.await {
            Ok(()) => Left::AsItWas(file),
            Err(error) => {
                let why = match std::error::Error::source(&error) {
                    Some(source) => format!("{error}: {source}"),
                    None => error.to_string(),
                };
                Left::Changed(file, why)
            }
        }
    }

    async fn master(&self) -> Result<Master, Error> {
        let file = self.how.pid.clone();
        blocking(move || Ok(Master::find(&file)))
            .await
            .map_err(Error::Processes)?
            .map_err(Error::NotRunning)
    }

    async fn read(&self) -> Result<String, Error> {
        let file = self.how.file.clone();
        let read = blocking(move || fs::read_to_string(file)).await;
        read.map_err(|source| self.read_error(source))
    }

    /// Replaces the file if it says what it is taken to say.
    async fn replace(&self, before: &str, after: &str) -> Result<(), Error> {
        if self.read().await? != before {
            return Err(Error::Raced(self.how.file.clone()));
        }
        let (file, text) = (self.how.file.clone(), after.to_owned());
        let replaced = blocking(move || replace::replace(&file, &text)).await;
        replaced.map_err(|source| self.write_error(&self.how.file, source))
    }

    async fn note(&self, note: &Note) -> Result<(), Error> {
        let file = self.note.clone();
        let bytes = serde_json::to_vec(note).map_err(io::Error::other);
        let kept = blocking(move || replace::keep(&file, &bytes?)).await;
        kept.map_err(|source| self.write_error(&self.note, source))
    }

    async fn forget(&self) -> Result<(), Error> {
        let file = self.note.clone();
        let removed = blocking(move || replace::remove(&file)).await;
        removed.map_err(|source| self.write_error(&self.note, source))
    }

    fn upstream<'t>(&self, text: &'t str, name: &str) -> Result<Upstream<'t>, Error> {
        Upstream::find(text, name).map_err(|source| self.unclear(source))
    }

    fn unclear(&self, source: file::Unclear) -> Error {
        Error::Unclear {
            file: self.how.file.clone(),
            source,
        }
    }

    fn read_error(&self, source: io::Error) -> Error {
        Error::Read {
            file: self.how.file.clone(),
            source,
        }
    }

    fn write_error(&self, file: &Path, source: io::Error) -> Error {
        Error::Write {
            file: file.to_owned(),
            source,
        }
    }
}

async fn workers_of(master: Master) -> Result<Workers, Error> {
    blocking(move || master.workers())
        .await
        .map_err(Error::Processes)
}

/// Where a server is.
async fn addresses(server: &str) -> io::Result<Vec<SocketAddr>> {
    let named_port = server
        .rsplit_once(':')
        .is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
    let found = if named_port {
        tokio::net::lookup_host(server.to_owned()).await?
    } else {
        tokio::net::lookup_host(format!("{server}:{PORT}")).await?
    };
    Ok(found.collect())
}
