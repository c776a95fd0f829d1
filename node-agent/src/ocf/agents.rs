//! Running the actions of resource agents.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use interlock_model::action::OptionValue;
use interlock_model::names::{LocalName, NodeName};
use interlock_model::ocf::{AgentName, PARAMETER_PREFIX, Resource};

use super::attributes::Attributes;
use super::environment::{KEPT, OWN, TOOLS, WORD, environment};
use super::notebook::Notebook;
use super::slot::Slot;
use super::tools::make;
use super::{Catalogue, Error, Report, Told};
use crate::config::Secrets;
use crate::power::{Secret, redact};
use crate::shim::{Input, LaunchError, Leftovers, Output, Run, RunId, RunSpec, Runs, Stop};
use crate::tool::blocking;

/// The limit of an action for which neither the spec nor the agent has one: Pacemaker's.
const LIMIT: Duration = Duration::from_secs(20);

/// How often a resource is monitored if neither the spec nor its agent says.
const EVERY: Duration = Duration::from_secs(10);

/// The shortest interval between two monitors, whatever they say: each starts some dozen processes.
const LEAST_EVERY: Duration = Duration::from_secs(1);

/// How much output of each stream of an action that changes nothing is kept.
const OUTPUT: u64 = 16 * 1024;

/// What changes a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `start`.
    Start,
    /// `stop`.
    Stop,
    /// `promote`.
    Promote,
    /// `demote`.
    Demote,
}

impl Verb {
    /// The action.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Promote => "promote",
            Self::Demote => "demote",
        }
    }
}

/// What was seen of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// This is being done to it.
    Acting(Verb),
    /// What its `monitor` says.
    Monitored {
        /// That.
        report: Report,
        /// Had it been seen running since it was last stopped? If not it was a probe.
        was_up: bool,
        /// Why it cannot be taken for stopped all the same.
        doubt: Option<String>,
    },
}

/// What resource agents need of this machine.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node, as agents are told.
    pub node: NodeName,
    /// Where agents keep their state files.
    pub state: PathBuf,
    /// Where this agent keeps what it knows of resources.
    pub memory: PathBuf,
    /// Where secrets are.
    pub secrets: Secrets,
}

/// The resource agents of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ResourceAgents {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: Options,
    catalogue: Catalogue,
    runs: Runs,
    notebook: Notebook,
    /// By what they run as: a resource of another agent type is another one, whatever its name.
    slots: Mutex<BTreeMap<(AgentName, LocalName), Arc<Slot>>>,
    /// Short runs so far, which their ids tell apart.
    short: AtomicU64,
}

impl ResourceAgents {
    /// Of this catalogue. Blocks, for one small file.
    #[must_use]
    pub fn new(runs: Runs, catalogue: Catalogue, options: Options) -> Self {
        let notebook = Notebook::open(options.memory.clone(), runs.boot_id().clone());
        Self {
            inner: Arc::new(Inner {
                options,
                catalogue,
                runs,
                notebook,
                slots: Mutex::default(),
                short: AtomicU64::new(0),
            }),
        }
    }

    /// What is installed.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.inner.catalogue
    }

    /// The node, as agents are told.
    pub(crate) fn node(&self) -> &NodeName {
        &self.inner.options.node
    }

    /// How often a resource is monitored.
    #[must_use]
    pub fn every(&self, resource: &Resource) -> Duration {
        let advised = || {
            let known = self.inner.catalogue.known(&resource.agent)?.ok()?;
            known.advice("monitor")?.interval
        };
        let every = resource.every.or_else(advised);
        every.unwrap_or(EVERY).max(LEAST_EVERY)
    }

    /// How long an action of a resource may take.
    #[must_use]
    pub fn limit(&self, resource: &Resource, action: &str) -> Duration {
        let given = match action {
            "start" => resource.limits.start,
            "stop" => resource.limits.stop,
            "monitor" => resource.limits.monitor,
            "promote" => resource.limits.promote,
            "demote" => resource.limits.demote,
            _ => None,
        };
        let advised = || {
            let known = self.inner.catalogue.known(&resource.agent)?.ok()?;
            known.advice(action)?.timeout
        };
        given.or_else(advised).unwrap_or(LIMIT)
    }

    /// Whose turn it is with a resource.
    pub(crate) fn slot(&self, resource: &Resource) -> Arc<Slot> {
        // Every change is complete before anything can panic.
        let mut slots = self
            .inner
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Slot::new(resource, &self.inner.notebook));
        let key = (resource.agent.clone(), resource.name.clone());
        Arc::clone(slots.entry(key).or_insert_with(new))
    }

    /// Has this agent, or an earlier one in this boot, seen a resource running since it was last stopped?
    pub(crate) fn was_up(&self, resource: &Resource) -> bool {
        self.slot(resource).was_up()
    }

    /// Monitors a resource, unless it is being started or stopped. To its end: dropping the future does not keep it any
    /// longer.
    ///
    /// # Errors
    /// If nothing could be run.
    pub async fn look(&self, resource: &Resource) -> Result<Look, Error> {
        let (agents, resource) = (self.clone(), resource.clone());
        let looked = tokio::spawn(async move { agents.look_to_the_end(&resource).await });
        looked.await.unwrap_or(Err(Error::Ending("monitor")))
    }

    async fn look_to_the_end(&self, resource: &Resource) -> Result<Look, Error> {
        let slot = self.slot(resource);
        let _turn = match slot.monitor().await {
            Ok(turn) => turn,
            Err(verb) => return Ok(Look::Acting(verb)),
        };
        let was_up = slot.was_up();
        let interval = if was_up {
            self.every(resource)
        } else {
            Duration::ZERO
        };
        let (run, secrets) = self.launch_short(resource, "monitor", interval).await?;
        let ended = tokio::select! {
            biased;
            verb = slot.acted() => Err(verb),
            _ = run.wait() => Ok(()),
        };
        if let Err(verb) = ended {
            if let Err(error) = run.kill(Duration::ZERO).await {
                tracing::warn!(run = %run.id(), %error, "a monitor does not make way");
            }
            self.forget(&run).await;
            return Ok(Look::Acting(verb));
        }
        let report = read(&run, &secrets).await;
        self.forget(&run).await;
        slot.said(report.code);
        if report.code.is_some_and(super::Code::is_up) {
            slot.is_up_now().await;
        }
        Ok(Look::Monitored {
            report,
            was_up,
            doubt: slot.doubt(),
        })
    }

    /// Has the agent check the parameters of a resource; none if it does not offer that.
    ///
    /// # Errors
    /// If it could not be asked.
    pub(crate) async fn validate(&self, resource: &Resource) -> Result<Option<Report>, Error> {
        const ACTION: &str = "validate-all";
        let known = self.inner.catalogue.describe(&resource.agent).await?;
        if known.advice(ACTION).is_none() {
            return Ok(None);
        }
        let (agents, resource) = (self.clone(), resource.clone());
        let validated = tokio::spawn(async move {
            let (run, secrets) = agents
                .launch_short(&resource, ACTION, Duration::ZERO)
                .await?;
            run.wait().await;
            let report = read(&run, &secrets).await;
            agents.forget(&run).await;
            Ok(Some(report))
        });
        validated.await.unwrap_or(Err(Error::Ending(ACTION)))
    }

    /// How good it would be to promote a resource here, by its agent; none if that has not said.
    ///
    /// # Errors
    /// If nobody can tell.
    pub(crate) fn score(&self, resource: &Resource) -> io::Result<Option<i64>> {
        // A file in memory.
        Attributes::at(&self.inner.options.state.join(OWN).join(KEPT)).score(&resource.name)
    }

    /// Tells the agent of a resource what is about to be done, or was done, if it wants to be told. What it makes of that changes
    /// nothing. Whoever calls this has the turn.
    pub(crate) async fn notify(&self, resource: &Resource, told: Told) {
        let (agents, resource) = (self.clone(), resource.clone());
        let notified = tokio::spawn(async move {
            let never = std::future::pending();
            agents.notify_until(&resource, &told, never).await
        });
        log(notified.await);
    }

    /// Tells the agent of a resource what was done elsewhere. Makes way for whoever acts on it: it is told of the next.
    pub(crate) async fn tell(&self, resource: &Resource, told: Told) {
        let (agents, resource) = (self.clone(), resource.clone());
        let notified = tokio::spawn(async move {
            let slot = agents.slot(&resource);
            let Ok(_telling) = slot.tell().await else {
                return Ok(());
            };
            agents.notify_until(&resource, &told, slot.acted()).await
        });
        log(notified.await);
    }

    async fn notify_until(
        &self,
        resource: &Resource,
        told: &Told,
        halt: impl Future<Output = Verb>,
    ) -> Result<(), Error> {
        const ACTION: &str = "notify";
        if !self.is_notified(resource) {
            return Ok(());
        }
        let circle = self.slot(resource).circle();
        let more = circle.notice(resource, &self.inner.options.node, told);
        let (run, secrets) = self
            .launch_with(resource, ACTION, Duration::ZERO, more)
            .await?;
        tokio::select! {
            biased;
            _ = halt => {
                if let Err(error) = run.kill(Duration::ZERO).await {
                    tracing::warn!(run = %run.id(), %error, "a notice does not make way");
                }
            }
            _ = run.wait() => {
                let report = read(&run, &secrets).await;
                if !report.success() {
                    tracing::warn!(resource = %resource.name, "`{ACTION}` of {told:?}: {}", report.text);
                }
            }
        }
        self.forget(&run).await;
        Ok(())
    }

    fn is_notified(&self, resource: &Resource) -> bool {
        let known = self.inner.catalogue.known(&resource.agent);
        resource.promotable
            && known.is_some_and(|known| known.is_ok_and(|it| it.advice("notify").is_some()))
    }

    /// Begins a `start` or `stop`, which ends at its own limit, and at the latest after `left`. Its id is the caller's,
    /// who finds it again after a restart.
    ///
    /// # Errors
    /// If nothing was started.
    pub(crate) async fn launch(
        &self,
        resource: &Resource,
        verb: Verb,
        id: RunId,
        left: Duration,
    ) -> Result<Run, Error> {
        let limit = self.limit(resource, verb.word()).min(left);
        let (spec, _) = self
            .spec(resource, verb.word(), id, limit, Duration::ZERO)
            .await?;
        let spec = RunSpec {
            leftovers: match verb {
                Verb::Start | Verb::Promote | Verb::Demote => Leftovers::Keep,
                Verb::Stop => Leftovers::Kill,
            },
            ..spec
        };
        let run = self.inner.runs.launch(spec).await;
        run.map_err(|source| launch_error(verb.word(), resource, source))
    }

    /// Waits for the end of a `start` or `stop`, launched or adopted.
    pub(crate) async fn report(&self, run: &Run, resource: &Resource) -> Report {
        run.child_exited().await;
        let secrets = self.secrets(resource).await.unwrap_or_default();
        read(run, &secrets.into_values().collect::<Vec<_>>()).await
    }

    /// Begins an action that changes nothing, and that is nobody's after a restart of this agent.
    async fn launch_short(
        &self,
        resource: &Resource,
        action: &'static str,
        interval: Duration,
    ) -> Result<(Run, Vec<Secret>), Error> {
        self.launch_with(resource, action, interval, BTreeMap::new())
            .await
    }

    /// The same, with more to say in its environment.
    async fn launch_with(
        &self,
        resource: &Resource,
        action: &'static str,
        interval: Duration,
        more: BTreeMap<String, String>,
    ) -> Result<(Run, Vec<Secret>), Error> {
        let limit = self.limit(resource, action);
        loop {
            let number = self.inner.short.fetch_add(1, Ordering::Relaxed);
            let id = RunId::check(&resource.name, number);
            let (mut spec, secrets) = self.spec(resource, action, id, limit, interval).await?;
            spec.env.extend(more.clone());
            let spec = RunSpec {
                output: Output::Ends { bytes: OUTPUT },
                durable: false,
                ..spec
            };
            match self.inner.runs.launch(spec).await {
                // One of the last agent that is not forgotten yet, or a command's of the same name.
                Err(LaunchError::Exists(_)) => {}
                Err(source) => return Err(launch_error(action, resource, source)),
                Ok(run) => return Ok((run, secrets)),
            }
        }
    }

    async fn spec(
        &self,
        resource: &Resource,
        action: &'static str,
        id: RunId,
        limit: Duration,
        interval: Duration,
    ) -> Result<(RunSpec, Vec<Secret>), Error> {
        let Options { node, state, .. } = &self.inner.options;
        let file = self.inner.catalogue.find(&resource.agent)?;
        let made = DirBuilder::new().recursive(true).mode(0o755).create(state);
        made.map_err(|source| Error::State(state.clone(), source))?;
        let circle = self.slot(resource).circle();
        let env = environment(resource, action, limit, interval, node, state, &circle);
        if resource.promotable {
            let tools = state.join(OWN).join(TOOLS);
            let at = tools.clone();
            let made = blocking(move || make(&at)).await;
            made.map_err(|source| Error::State(tools, source))?;
        }
        let secrets = self.secrets(resource).await?;
        let mut command = vec![file.display().to_string(), action.to_owned()];
        let mut input = None;
        if !secrets.is_empty() {
            // The shim is this program, and so is what it then runs.
            let own = ["/proc/self/exe".to_owned(), WORD.to_owned()];
            command.splice(0..0, own);
            let lines = secrets
                .iter()
                .map(|(name, secret)| format!("{PARAMETER_PREFIX}{name}={}\0", secret.expose()));
            let lines: String = lines.collect();
            let given = Input::new(lines.into_bytes());
            input = Some(given.map_err(|error| Error::Input(resource.name.clone(), error))?);
        }
        let spec = RunSpec {
            owner: format!("ocf {} {} {action}", resource.agent, resource.name),
            env,
            time_limit: Some(limit),
            // At its limit the whole group is killed.
            stop: Stop {
                grace: Duration::ZERO,
                ..Stop::default()
            },
            input,
            ..RunSpec::new(id, command)
        };
        Ok((spec, secrets.into_values().collect()))
    }

    async fn secrets(&self, resource: &Resource) -> Result<BTreeMap<String, Secret>, Error> {
        let mut read = BTreeMap::new();
        for (parameter, value) in &resource.parameters {
            let OptionValue::Secret(name) = value else {
                continue;
            };
            let (secrets, name) = (self.inner.options.secrets.clone(), name.clone());
            let secret = tokio::task::spawn_blocking(move || secrets.read(&name)).await;
            let secret = secret.map_err(|_| Error::Ending("reading a secret"))?;
            let secret = secret.map_err(|source| Error::Secret {
                resource: resource.name.clone(),
                parameter: parameter.clone(),
                source,
            })?;
            read.insert(parameter.clone(), secret);
        }
        Ok(read)
    }

    async fn forget(&self, run: &Run) {
        if let Err(error) = self.inner.runs.remove(run).await {
            tracing::warn!(run = %run.id(), %error, "a run cannot be forgotten");
        }
    }
}

fn launch_error(action: &'static str, resource: &Resource, source: LaunchError) -> Error {
    Error::Launch {
        action,
        resource: resource.name.clone(),
        source,
    }
}

/// What a run whose command has ended came to, without its secrets.
async fn read(run: &Run, secrets: &[Secret]) -> Report {
    let end = run.child_end().await;
    let output = run
        .output()
        .await
        .map(|(out, err)| (out.text(), err.text()));
    let (out, err) = output.unwrap_or_else(|error: io::Error| {
        (String::new(), format!("its output cannot be read: {error}"))
    });
    let clean = |text: String| redact(&text, secrets.iter());
    Report::of(end.as_ref(), &clean(out), &clean(err))
}

/// An agent that is not notified changes nothing.
fn log(notified: Result<Result<(), Error>, tokio::task::JoinError>) {
    if let Ok(Err(error)) = notified {
        tracing::warn!(%error, "an agent is not notified");
    }
}
