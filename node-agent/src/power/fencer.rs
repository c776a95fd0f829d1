//! Fence agents by request: validation, one at a time per device, attempts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use interlock_model::names::PowerName;
use tokio::time::Instant;

use super::answer::{describe, evidence, reply};
use super::metadata::{Objection, is_dangerous, normal};
use super::process::{end_left, execute};
use super::{Action, FenceError, FenceRequest, Metadata, PowerState, Reply};
use crate::group::End;

/// The limit for an agent to describe itself: it contacts nobody, but Python takes its time on a busy machine.
const METADATA_LIMIT: Duration = Duration::from_secs(20);

/// What the agent's own file says about fence agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Directories that are searched for agents, in this order.
    pub search: Vec<PathBuf>,
    /// Options that are permitted although they can run a program or write a file.
    pub permit: BTreeSet<String>,
    /// What tells this agent's fence agents from those of another agent of the machine, also after a restart: its state
    /// directory.
    pub owner: String,
}

impl Default for Options {
    /// Where distributions install fence agents; nothing dangerous is permitted.
    fn default() -> Self {
        Self {
            search: vec![PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")],
            permit: BTreeSet::new(),
            owner: String::new(),
        }
    }
}

/// The turn at a device: only its holder asks it. True if nothing that was begun before may still talk to the device.
type Turn = Arc<tokio::sync::Mutex<bool>>;

/// A description and the file that it was read from.
type Described = ((PathBuf, Option<(SystemTime, u64)>), Arc<Metadata>);

/// Runs fence agents. Clones share the devices' queues and the descriptions.
#[derive(Debug, Clone)]
pub struct Fencer {
    options: Arc<Options>,
    devices: Arc<Mutex<BTreeMap<PowerName, Turn>>>,
    described: Arc<Mutex<BTreeMap<String, Described>>>,
}

impl Fencer {
    /// A fencer with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options: Arc::new(options),
            devices: Arc::default(),
            described: Arc::default(),
        }
    }

    /// Carries out a request. Its limit counts from its turn at the device, so that who waits behind a plug that hangs has the
    /// whole of it. Only *off* counts from now, waiting included, and the moments that killing takes come on top: who ordered it
    /// gives it up after its limit, and a machine that has come back since must not be switched off.
    ///
    /// `status` answers [`PowerState::Unknown`] when the device does not say; that is not an error of this method.
    ///
    /// # Errors
    /// [`FenceError`]; after one that [`FenceError::outcome_is_unknown`] the power state has to be asked for.
    pub async fn run(&self, request: &FenceRequest) -> Result<Reply, FenceError> {
        let deadline = Instant::now() + request.limit;
        let metadata = self.metadata(&request.agent).await?;
        let input = self.input(request, &metadata)?;
        let device = self.device(&request.device);
        let busy = |_| FenceError::Busy {
            device: request.device.clone(),
            limit: request.limit,
        };
        let (mut alone, deadline) = if request.action == Action::Off {
            let turn = tokio::time::timeout_at(deadline, device.lock()).await;
            (turn.map_err(busy)?, deadline)
        } else {
            let turn = device.lock().await;
            (turn, Instant::now() + request.limit)
        };
        let marker = format!("{}:{}", request.device, self.options.owner);
        if !*alone {
            tokio::time::timeout_at(deadline, end_left(&marker))
                .await
                .map_err(busy)?
                .map_err(|source| FenceError::Start {
                    agent: request.agent.clone(),
                    source,
                })?;
        }
        // Until it has ended by itself: who drops this future, or gives it up at its limit, may leave it dying.
        *alone = false;
        let done = self.attempts(request, &input, &marker, deadline).await;
        *alone = !matches!(done, Err(FenceError::TimedOut { .. }));
        match done {
            Err(error @ (FenceError::Failed { .. } | FenceError::TimedOut { .. }))
                if request.action == Action::Status =>
            {
                Ok(Reply::Power(PowerState::Unknown {
                    why: error.to_string(),
                }))
            }
            reply => reply,
        }
    }

    /// What an agent says about itself; remembered until its file changes.
    ///
    /// # Errors
    /// [`FenceError::BadName`], [`FenceError::NotInstalled`], [`FenceError::NoMetadata`], [`FenceError::Start`].
    pub async fn metadata(&self, agent: &str) -> Result<Arc<Metadata>, FenceError> {
        let path = self.locate(agent)?;
        // Two versions may be written within one tick of the file system's clock.
        let version = std::fs::metadata(&path)
            .and_then(|file| Ok((file.modified()?, file.len())))
            .ok();
        let key = (path, version);
        if let Some((known, metadata)) = lock(&self.described).get(agent)
            && *known == key
        {
            return Ok(Arc::clone(metadata));
        }
        let done = execute(&key.0, "action=metadata\n", None, METADATA_LIMIT)
            .await
            .map_err(|source| FenceError::Start {
                agent: agent.to_owned(),
                source,
            })?;
        let why = match &done.end {
            End::Exited(0) => match Metadata::parse(&String::from_utf8_lossy(&done.stdout)) {
                Ok(metadata) => {
                    let metadata = Arc::new(metadata);
                    lock(&self.described).insert(agent.to_owned(), (key, Arc::clone(&metadata)));
                    return Ok(metadata);
                }
                Err(why) => why,
            },
            end => format!("{}: {}", describe(end), evidence(&done, [].into_iter())),
        };
        Err(FenceError::NoMetadata {
            agent: agent.to_owned(),
            why,
        })
    }

    /// The program of an agent. The name is all that a caller can choose, so it must not lead anywhere else.
    fn locate(&self, agent: &str) -> Result<PathBuf, FenceError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !agent.starts_with("fence_") || !agent.chars().all(plain) {
            return Err(FenceError::BadName {
                agent: agent.to_owned(),
            });
        }
        let executable = |path: &PathBuf| {
            std::fs::metadata(path)
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        self.options
            .search
            .iter()
            .map(|dir| dir.join(agent))
            .find(executable)
            .ok_or_else(|| FenceError::NotInstalled {
                agent: agent.to_owned(),
                search: self.options.search.clone(),
            })
    }

    /// The lines for the agent's standard input, after everything in them has been checked.
    fn input(&self, request: &FenceRequest, metadata: &Metadata) -> Result<String, FenceError> {
        let agent = || request.agent.clone();
        if !metadata.actions.contains_key(request.action.word()) {
            return Err(FenceError::Unsupported {
                agent: agent(),
                action: request.action,
            });
        }
        let mut lines = vec![
            ("action", request.action.word()),
            ("nodename", request.node.as_str()),
        ];
        if request.action.needs_plug()
            && let Some(parameter) = metadata.plug_parameter()
        {
            lines.push((parameter, &request.plug));
        }
        // Explicit, because the library switches its own limits off when the environment looks like Pacemaker's.
        // With them on, a device that does not react gives a better message than our kill.
        let given = request
            .options
            .keys()
            .any(|option| normal(option) == "disable_timeout");
        if metadata.has("disable_timeout") && !given {
            lines.push(("disable_timeout", "false"));
        }
        for (option, value) in &request.options {
            metadata
                .check(option)
                .map_err(|objection| match objection {
                    Objection::Unknown(suggestion) => FenceError::UnknownOption {
                        agent: agent(),
                        option: option.clone(),
                        suggestion,
                    },
                    Objection::Reserved => FenceError::ReservedOption {
                        agent: agent(),
                        option: option.clone(),
                    },
                })?;
            if is_dangerous(option)
                && !self
                    .options
                    .permit
                    .iter()
                    .any(|permitted| normal(permitted) == normal(option))
            {
                return Err(FenceError::NotPermitted {
                    agent: agent(),
                    option: option.clone(),
                });
            }
            lines.push((option, value.expose()));
        }
        let mut input = String::new();
        for (option, value) in lines {
            if value.contains(['\n', '\r', '\0']) {
                return Err(FenceError::BadValue {
                    agent: agent(),
                    option: option.to_owned(),
                });
            }
            // Writing to a string cannot fail.
            let _ = writeln!(input, "{option}={value}");
        }
        Ok(input)
    }

    fn device(&self, name: &PowerName) -> Turn {
        Arc::clone(lock(&self.devices).entry(name.clone()).or_default())
    }

    async fn attempts(
        &self,
        request: &FenceRequest,
        input: &str,
        marker: &str,
        deadline: Instant,
    ) -> Result<Reply, FenceError> {
        let path = self.locate(&request.agent)?;
        let agent = || request.agent.clone();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let limit = request.retry.attempt_limit(deadline - Instant::now());
            let done = execute(&path, input, Some(marker), limit)
                .await
                .map_err(|source| FenceError::Start {
                    agent: agent(),
                    source,
                })?;
            let end = match &done.end {
                End::Exited(code) => match reply(request.action, *code, &done.stdout) {
                    Some(reply) => return Ok(reply),
                    None => describe(&done.end),
                },
                End::Signalled(_) => describe(&done.end),
                End::TimedOut | End::Undead(_) => {
                    let (action, plug) = (request.action, request.plug.clone());
                    let evidence = evidence(&done, request.options.values());
                    return Err(FenceError::TimedOut {
                        agent: agent(),
                        action,
                        plug,
                        limit,
                        evidence,
                    });
                }
            };
            if !request
                .retry
                .allows_another(attempts, request.limit, deadline - Instant::now())
            {
                return Err(FenceError::Failed {
                    agent: agent(),
                    action: request.action,
                    plug: request.plug.clone(),
                    end,
                    attempts,
                    evidence: evidence(&done, request.options.values()),
                });
            }
        }
    }
}

/// A poisoned lock protects nothing that could be half done: every section inserts or reads one entry.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "fencer_tests.rs"]
mod tests;
