//! The agent's program: everything put together.
//!
//! # Use
//! ```text
//! interlock-agent run --config /etc/interlock/interlock-agent.toml      INTERLOCK_LOG=debug: more on standard error
//! ```
//! The file is described in `deploy/config/interlock-agent.toml`. When the agent listens it prints
//! `listening on ADDRESS` on standard output (port 0 in the file: any) and tells the service manager that it is ready.
//! SIGTERM and SIGINT end it; **what it manages goes on** and is adopted by the next agent.
//!
//! # What is where
//! ```text
//! state_dir/ledger.redb     attempts, term, wanted, refusals, last assignment       (module ledger)
//! state_dir/members.json    what the members of load balancers were put to             (module held)
//! state_dir/ocf.json        what is known of resources of OCF agents in this boot      (module ocf)
//! state_dir/files/           what files said before an operation wrote them             (module files)
//! state_dir/runs/           one directory per running command                      (module shim)
//! state_dir/logs/           what supervised processes print
//! state_dir/roles/          what roles this node has held and given back             (module roles)
//! ```
//!
//! # Who does what
//! | module | does |
//! |---|---|
//! | `body` | the [`Executor`](crate::session::Executor): permits by the allow-list, hands attempts to the right one |
//! | `instance`, `managers` | start, stop, verify: parts downwards and upwards, each by its manager, each proven |
//! | `instances`, `charge`, `keeper`, `look`, `deaths` | one task per instance: looks when something happens, posts, and asks the guard |
//! | `members`, `held` | who takes part in the load balancers of this node, and stays as it was put |
//! | `machine`, `fence` | this machine's way down; the power of others |
//! | `leases`, `usher`, `hands`, `readiness` | roles: what attempts see of them, how they are looked at, what is started and stopped for them |
//! | `postgres`, `redis`, `mariadb` | database servers under a lease: followed, promoted, rejoined |
//! | `ocf` | resources under a lease that their own agents promote |
//! | `probes` | checks: permitted, run, posted |
//! | `errand` | whose work it is, when it must end, and the names of its runs |
//!
//! # Every action is ensure-shaped
//! Look: if what is wanted is already so, it is done, and the evidence says since when. Act. Look again: only what is
//! seen is told as done. An attempt that a killed agent left open goes on in the next one by the same code: what has
//! happened is seen, and a command of the agent's file that has left its run on disk is waited for instead of started
//! again (safety rule X2).

mod body;
mod charge;
mod deaths;
mod errand;
mod error;
mod fence;
mod hands;
mod held;
mod instance;
mod instances;
mod keeper;
mod leases;
mod look;
mod machine;
mod managers;
mod mariadb;
mod members;
mod mortal;
mod ocf;
mod postgres;
mod probes;
mod readiness;
mod redis;
mod seen;
mod usher;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use interlock_engine::agent::ledger::Target;
use interlock_mesh::channel::{self, Expected};
use interlock_mesh::credentials::{self, Credentials, Files, system_clock};
use interlock_mesh::identity::{Kind, Subject};
use interlock_model::lease::Holder;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, WatchdogMode};
use crate::exec::Exec;
use crate::facts::{FactsReader, boot_id};
use crate::files;
use crate::health;
use crate::ledger::Recorder;
use crate::logs::Logs;
use crate::node_service::{self, NodeState};
use crate::notify::Notify;
use crate::ocf::{Catalogue, Options as OcfOptions, ResourceAgents};
use crate::peers::Asker;
use crate::power::{self, Fencer};
use crate::roles::{self, Roles, View};
use crate::session::{Agent, Clock, Options};
use crate::shim::{self, Runs};
use crate::supervise::Supervisor;
use crate::systemd::{self, Systemd};
use crate::watchdog::{self, Device, Dog};

pub(crate) use body::facts;
pub use error::Error;
pub(crate) use instances::Instances;
pub(crate) use managers::{Managers, chain};

/// How often the credentials' files are looked at. A renewal has days.
const RELOAD: Duration = Duration::from_secs(30);

/// How long an attempt that takes the machine down may take to be told, when the agent is told to end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long a primary may take to have it recorded that its agent ends.
const LAST_RENEWAL: Duration = Duration::from_secs(3);

/// How long a primary may take to be stopped when its machine goes down. systemd waits longer for a unit to stop
/// (`DefaultTimeoutStopSec=`, 90 s).
const LAST_STOP: Duration = Duration::from_secs(60);

/// Threads for what blocks: a disk, a lock, a directory, a name server. They end when they have nothing to do. Many more
/// than are ever busy: the look-up of a coordinator's name cannot be ended, and its threads add up while a dead name
/// server takes a minute to be given up and each coordinator is tried again every few seconds.
const BLOCKING_THREADS: usize = 64;

/// Their stack; they do nothing that needs a large one.
const STACK: usize = 256 * 1024;

/// Runs an agent until it is told to end, on a runtime of its own: one thread, because an agent waits.
///
/// # Errors
/// [`Error`] says what stands in the way and what to do.
pub fn run(config: Config) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_stack_size(STACK)
        .build()
        .map_err(Error::Runtime)?;
    let outcome = runtime.block_on(run_until(config, told_to_end()));
    // Nothing is waited for: what blocks may block for ever.
    runtime.shutdown_background();
    outcome
}

/// Runs an agent until `stop`.
///
/// # Errors
/// See [`run`].
pub async fn run_until(config: Config, stop: impl Future<Output = ()>) -> Result<(), Error> {
    let notify = Notify::from_env().map_err(Error::Notify)?;
    let clock = Clock;
    let state = &config.state_dir;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .map_err(|source| Error::StateDir {
            path: state.clone(),
            source,
        })?;
    let boot = boot_id(&config.boot_id_path).map_err(|source| Error::BootId {
        path: config.boot_id_path.clone(),
        source,
    })?;
    let (store, credentials) = own_credentials(&config)?;
    let coordinators = config
        .coordinators
        .iter()
        .map(|endpoint| target(endpoint))
        .collect::<Result<_, _>>()?;

    let runs_dir = state.join("runs");
    let runs = Runs::open(shim::Options {
        cgroup: config.cgroup.clone().or_else(shim::own_group),
        ..shim::Options::new(runs_dir.clone(), boot.clone())
    })?;
    let owner = credentials.identity().to_string();
    let (recorder, kept) = Recorder::open(&state.join("ledger.redb"), &owner)?;
    let adopted = runs.adopt_all().await.map_err(|source| Error::Adopt {
        path: runs_dir,
        source,
    })?;
    let (supervisor, processes) =
        Supervisor::new(runs.clone(), config.processes.clone(), state.join("logs"));
    let exec = Exec::new(runs.clone(), config.execs.clone());
    let catalogue = Catalogue::new(config.ocf.path.clone(), config.allow.resource_agents());
    // From now on it is known what they would refuse.
    catalogue.installed().await;
    let ocf = ResourceAgents::new(
        runs.clone(),
        catalogue,
        OcfOptions {
            node: config.node.clone(),
            state: config.ocf.state.clone(),
            memory: state.join("ocf.json"),
            secrets: config.secrets.clone(),
        },
    );
    let systemd = Systemd::new(systemd::Options::default());
    let left = exec.adopt(supervisor.adopt(adopted));
    let forgotten = runs.forgotten().await.map_err(|source| Error::Adopt {
        path: "/proc".into(),
        source,
    })?;
    supervisor.forget(forgotten);

    let instances = Instances::default();
    let servers = postgres::Servers::new(&config.node, &config.postgres);
    let redis = redis::Servers::new(&config.redis, &config.secrets, state);
    let mariadb = mariadb::Servers::new(&config.mariadb, &config.secrets);
    let runners = managers::Runners {
        postgres: servers.clone(),
        redis: redis.clone(),
        mariadb: mariadb.clone(),
    };
    tokio::spawn(instances::watch_processes(
        instances.clone(),
        processes,
        runners,
    ));
    let managers = managers::Managers {
        supervisor,
        exec: exec.clone(),
        ocf,
        systemd: systemd.clone(),
        runs,
        clock,
        allow: Arc::new(config.allow.clone()),
        servers,
        redis,
        mariadb,
        started: managers::Started::default(),
    };
    let members = members::Members::open(state, Arc::clone(&managers.allow)).await;
    let put_out = members.put_out();
    let ending = CancellationToken::new();
    let facts_reader = Arc::new(Mutex::new(FactsReader::new()));
    let logs = Logs::new(&config, credentials.clone());
    logs.deliver(&config, ending.clone());
    let options = Options {
        node: config.node.clone(),
        boot: boot.clone(),
        coordinators,
        credentials: credentials.clone(),
        channel: channel::Options::default(),
    };
    let manager = systemd.clone();
    let (questions, asked) = mpsc::unbounded_channel();
    let watchdog = look_at_watchdog(&config).await;
    let (reports, report) = watch::channel(watchdog::Report::default());
    let watchdog = watchdog::View {
        mode: config.watchdog.mode,
        device: watchdog,
        report,
    };
    let (roles, works) = Roles::start(roles::Options {
        me: Holder {
            node: config.node.clone(),
            boot: boot.clone(),
        },
        facts: state.join("roles"),
        runtime: config.lease.runtime_dir.clone(),
        reset: config.lease.reset,
        coordinators: config.coordinators.len(),
        dog: Dog::new(watchdog.mode, watchdog.device.clone(), reports),
        questions,
    })
    .map_err(Error::Roles)?;
    let asker = Asker {
        credentials: credentials.clone(),
        roles: roles.clone(),
    };
    tokio::spawn(asker.run(asked));
    let hands = hands::Hands {
        managers: managers.clone(),
        roles: roles.clone(),
    };
    tokio::spawn(hands.clone().run(works));
    let (assigned, follow) = watch::channel(usher::Assigned::new());
    let usher = usher::Usher {
        hands,
        instances: instances.clone(),
        assigned: follow,
    };
    tokio::spawn(usher.run());
    health::serve(&config, &roles);
    let leases = leases::Leases {
        roles: roles.clone(),
        assigned,
    };
    let at_the_door = managers.clone();
    let agent = Agent::start(options, recorder, kept, |session| {
        let body = body::Body {
            allow: config.allow.clone(),
            session: session.clone(),
            instances: instances.clone(),
            machine: machine::Machine {
                managers: managers.clone(),
                own: config.shutdown.clone(),
                ending: ending.clone(),
            },
            members,
            fence: fence::Fence {
                fencer: Fencer::new(power::Options {
                    search: config.allow.fence_dir.clone(),
                    permit: config.allow.fence_options.clone(),
                    owner: config.state_dir.display().to_string(),
                }),
                secrets: config.secrets.clone(),
            },
            files: files::Files::new(config.state_dir.join("files"), config.secrets.clone()),
            probes: probes::Probes::start(
                probes::tools(exec, systemd, put_out, &config),
                session.board().clone(),
                clock,
            ),
            facts: Arc::clone(&facts_reader),
            logs: logs.clone(),
            managers,
            leases: leases.clone(),
            watchdog: watchdog.clone(),
            clock,
        };
        body.take_over(left);
        Arc::new(body)
    });
    tokio::spawn(leases.post(agent.handle().board().clone(), instances.clone()));
    let node = NodeState {
        managers: at_the_door,
        node: config.node.clone(),
        cluster: credentials.identity().cluster().clone(),
        boot,
        session: agent.handle().clone(),
        instances,
        allow: config.allow.clone(),
        facts: facts_reader,
        clock,
        roles: roles.clone(),
        watchdog,
    };
    let server = node_service::bind(config.listen, credentials).await?;
    let address = server.address();
    let served = node_service::serve(server, node);
    let watch = store.run(RELOAD);
    tracing::info!(node = %config.node, %address, "this agent observes, guards and listens");
    // One line for scripts and tests: the address that was really bound.
    println!("listening on {address}");
    notify.ready();
    let outcome = tokio::select! {
        served = served => served,
        never = watch => match never {},
        () = keep_watchdog(&notify) => Ok(()),
        () = stop => Ok(()),
    };
    notify.stopping();
    leave_roles(&roles, &manager).await;
    tracing::info!("ending; what this agent manages goes on");
    ending.cancel();
    last_words(&agent).await;
    agent.stop("the agent was told to end").await;
    outcome
}

/// Looks at the watchdog device, if one is to be used, before any role is kept.
async fn look_at_watchdog(config: &Config) -> Result<Device, String> {
    if config.watchdog.mode == WatchdogMode::Off {
        return Err("none is used".to_owned());
    }
    let device = Device::prepare(&config.watchdog).await;
    match (&device, config.watchdog.mode) {
        (Ok(device), _) => tracing::info!(%device, "the watchdog of this machine"),
        (Err(why), WatchdogMode::Required) => {
            tracing::error!(
                "this node takes no role: its watchdog is required and cannot be used: {why}"
            );
        }
        (Err(why), _) => tracing::warn!("no watchdog is used: {why}"),
    }
    device
}

/// Waits until no role stands in the way of the end of this agent (safety rule E12). The record of a primary that goes on
/// without one must say that it holds on, or its silence is an expiry. One that goes down with its machine gives its role
/// back: held on to, nobody could take it over until the machine is up again.
async fn leave_roles(roles: &Roles, systemd: &Systemd) {
    let holds = |view: &View| !view.is_standby();
    if roles.views().borrow().values().any(holds) {
        let going = tokio::time::timeout(LAST_RENEWAL, systemd.is_going_down()).await;
        if matches!(going, Ok(Ok(true))) {
            tracing::warn!("the machine goes down: giving back what roles it has");
            let left = tokio::time::timeout(LAST_STOP, roles.leave_all()).await;
            if left.is_ok() {
                return;
            }
            tracing::error!("not every role is given back in time");
        }
    }
    if tokio::time::timeout(LAST_RENEWAL, roles.may_exit())
        .await
        .is_err()
    {
        tracing::warn!(
            "no coordinator has taken note that this agent ends: what is primary here goes on for as long as its lease lasts, \
             and the next agent finds out what has become of it"
        );
    }
}

/// Waits until an attempt that takes this machine down has ended, if there is one, and what is known is durable.
async fn last_words(agent: &Agent) {
    let is_going_down = || {
        let open = agent.handle().open();
        open.iter()
            .any(|entry| entry.command.as_ref().map(Target::of) == Some(Target::Machine))
    };
    let told = async {
        // An outcome is told when it is durable, not when it is known.
        while is_going_down() || !agent.handle().is_settled() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // Not in time: the next start of this agent finds out.
    let _ = tokio::time::timeout(LAST_WORDS, told).await;
}

/// Proves to the service manager that this task gets its turn; never ends.
async fn keep_watchdog(notify: &Notify) {
    let Some(period) = notify.watchdog_period() else {
        return std::future::pending().await;
    };
    let mut tick = tokio::time::interval(period);
    loop {
        tick.tick().await;
        notify.watchdog();
    }
}

/// The certificate that the file names, if it is that of this node.
///
/// # Errors
/// [`Error::Credentials`] if a file cannot be read or used, [`Error::OtherNode`] if it belongs to somebody else.
pub fn own_credentials(config: &Config) -> Result<(credentials::Store, Credentials), Error> {
    let files = Files {
        certificate: config.tls.cert.clone(),
        key: config.tls.key.clone(),
        authority: config.tls.ca.clone(),
    };
    let (store, credentials) =
        credentials::open(files, Kind::Agent, system_clock()).map_err(Error::Credentials)?;
    let identity = credentials.identity();
    match identity.subject() {
        Subject::Agent(node) if *node == config.node => Ok((store, credentials)),
        _ => Err(Error::OtherNode {
            node: config.node.clone(),
            found: identity.caller().to_string(),
        }),
    }
}

fn target(endpoint: &str) -> Result<channel::Target, Error> {
    let address = endpoint
        .strip_prefix("https://")
        .unwrap_or(endpoint)
        .trim_end_matches('/');
    let address = address.parse().map_err(|source| Error::Coordinator {
        endpoint: endpoint.to_owned(),
        source,
    })?;
    Ok(channel::Target {
        address,
        expected: Expected::Coordinator,
    })
}

async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be received; only SIGKILL ends this agent");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
