//! A coordinator of an older term, such as one that slept while another took over, cannot make an agent do anything
//! (invariant I7): it has the right certificate, the agents connect to it, and what it orders is refused.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::account::proven_once;
use interlock_e2e::local::{Cluster, Life, Operator, for_services, shop};
use interlock_mesh::authz::Table;
use interlock_mesh::credentials::{self, Files, system_clock};
use interlock_mesh::identity::Kind;
use interlock_mesh::server::{Options, Server};
use interlock_proto::v1;
use interlock_proto::v1::agent_message::Message as Said;
use interlock_proto::v1::agent_service_server::{AgentService, AgentServiceServer};
use interlock_proto::v1::coordinator_message::Message as Order;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// The last number of its address.
const SECOND: u8 = 7;

type Orders = mpsc::Sender<Result<v1::CoordinatorMessage, Status>>;

/// What agents have said, and how they are told something.
#[derive(Debug, Default)]
struct Heard {
    /// The term in which it welcomes agents; none: it does not.
    term: Option<u64>,
    sessions: BTreeMap<String, Orders>,
    reports: Vec<v1::AttemptReport>,
}

/// A coordinator that says whatever it is told to say.
#[derive(Debug, Clone, Default)]
struct Other(Arc<Mutex<Heard>>);

#[tonic::async_trait]
impl AgentService for Other {
    type ConnectStream = ReceiverStream<Result<v1::CoordinatorMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|first| first.message);
        let Some(Said::Hello(hello)) = first else {
            return Err(Status::failed_precondition("no hello"));
        };
        let Some(term) = self.heard(|heard| heard.term) else {
            return Err(Status::unavailable("it sleeps"));
        };
        let (orders, outgoing) = mpsc::channel(64);
        let welcome = Order::Welcome(v1::Welcome {
            coordinator: "mgmt".to_owned(),
            term,
            incarnation: hello.incarnation,
            heartbeat_ms: 200,
        });
        let welcome = v1::CoordinatorMessage {
            message: Some(welcome),
        };
        // There is room for it.
        drop(orders.send(Ok(welcome)).await);
        self.heard(|heard| heard.sessions.insert(hello.node, orders));
        let other = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                if let Some(Said::Attempt(report)) = message.message {
                    other.heard(|heard| heard.reports.push(report));
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

impl Other {
    fn heard<T>(&self, what: impl FnOnce(&mut Heard) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// It listens, with the certificate of a coordinator, for as long as the runtime lives.
    fn begin(address: &str, files: Files) -> Result<(Self, Runtime)> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let other = Self::default();
        let routes = Routes::new(AgentServiceServer::new(other.clone()));
        let address: SocketAddr = address.parse()?;
        runtime.block_on(async move {
            let (_, credentials) = credentials::open(files, Kind::Coordinator, system_clock())?;
            let table = Arc::new(Table::interlock_v1());
            let server = Server::bind(address, credentials, table, Options::default()).await?;
            tokio::spawn(async move { server.serve(routes, std::future::pending()).await });
            anyhow::Ok(())
        })?;
        Ok((other, runtime))
    }

    /// From now on it speaks in this term, in new sessions.
    fn speak_in(&self, term: u64, nodes: &[&str]) -> Result<()> {
        self.heard(|heard| {
            heard.term = Some(term);
            heard.sessions.clear();
        });
        eventually("agents connect to it", Duration::from_secs(30), || {
            let connected = self.heard(|heard| heard.sessions.keys().cloned().collect::<Vec<_>>());
            let all = nodes
                .iter()
                .all(|node| connected.iter().any(|it| it == node));
            ensure!(all, "these have: {connected:?}");
            Ok(())
        })
    }

    fn order(&self, node: &str, order: Order) -> Result<()> {
        let orders = self.heard(|heard| heard.sessions.get(node).cloned());
        let message = v1::CoordinatorMessage {
            message: Some(order),
        };
        let said = orders.context("no session")?.blocking_send(Ok(message));
        ensure!(said.is_ok(), "the session is over");
        Ok(())
    }

    /// What is said of this attempt that is not the first word.
    fn outcome(&self, step: &str) -> Result<v1::AttemptReport> {
        eventually(
            &format!("the outcome of {step}"),
            Duration::from_secs(20),
            || {
                self.heard(|heard| {
                    let of =
                        |it: &&v1::AttemptReport| it.id.as_ref().is_some_and(|id| id.step == step);
                    let open = [v1::AttemptState::Accepted, v1::AttemptState::GoingDown];
                    let last = heard
                        .reports
                        .iter()
                        .rev()
                        .filter(of)
                        .find(|it| !open.contains(&it.state()));
                    last.cloned().context("nothing yet")
                })
            },
        )
    }
}

/// Stop `web` on a node, as an operation that nobody has heard of.
fn stop(step: &str, term: u64) -> Order {
    let part = v1::part::Part::Process("web".to_owned());
    let command = v1::InstanceCommand {
        service: "web".to_owned(),
        parts: vec![v1::Part { part: Some(part) }],
    };
    Order::Dispatch(v1::Dispatch {
        term,
        id: Some(v1::AttemptId {
            operation: 900,
            step: step.to_owned(),
            attempt: 1,
        }),
        limit_ms: 20_000,
        command: Some(v1::dispatch::Command::Stop(command)),
    })
}

#[test]
fn what_a_coordinator_of_an_older_term_orders_is_refused_and_disturbs_nothing() -> Result<()> {
    let mut cluster = Cluster::prepare(&shop::layout())?;
    let address = format!("{}:7443", cluster.address(SECOND));
    for node in ["web1", "web2"] {
        let file = cluster.path("nodes").join(node).join("agent.toml");
        let first = format!("coordinators = [\"https://{}\"", cluster.endpoint());
        let text = fs::read_to_string(&file)?;
        ensure!(text.contains(&first), "{text}");
        fs::write(
            &file,
            text.replace(&first, &format!("{first}, \"https://{address}\"")),
        )?;
    }
    let files = cluster
        .authority()
        .coordinator("mgmt", &cluster.address(SECOND), Life::Now)?;
    let (other, _runtime) = Other::begin(&address, files)?;
    cluster.start_coordinator()?;
    cluster.join()?;
    let operator = cluster.admin()?;
    operator.run(&shop::startup())?;
    let old = operator.status()?.term;
    // Somebody took over while it slept.
    cluster.kill_coordinator()?;
    cluster.start_coordinator()?;
    cluster.until_connected(&operator)?;
    let term = operator.status()?.term;
    ensure!(old < term);

    // An operation of the present term is at work where the old one interferes.
    cluster.hold("stop:web@web1")?;
    let restart = operator.begin(&for_services("restart", &["web"]), false)?;
    operator.until_step(&restart, "stop:web@web1", "running")?;
    let attempt = under_way(&cluster, "web1")?;
    other.speak_in(old, &["web1", "web2"])?;
    for node in ["web1", "web2"] {
        let nothing = v1::Assignment {
            term: old,
            generation: 99,
            ..v1::Assignment::default()
        };
        other.order(node, Order::Assignment(nothing))?;
    }
    other.order(
        "web1",
        Order::Cancel(v1::Cancel {
            term: old,
            id: attempt.id.clone(),
        }),
    )?;
    other.order("web2", stop("old", old))?;
    let refused = other.outcome("old")?;
    ensure!(refused.state() == v1::AttemptState::Refused, "{refused:?}");
    ensure!(
        refused.evidence.contains(&format!("term {old} is over")),
        "{}",
        refused.evidence
    );
    ensure!(
        cluster.story().count("term", "web@web2")? == 0,
        "it was stopped"
    );
    cluster.release("stop:web@web1")?;
    operator.until(&restart, "done")?;
    proven_once(&operator, &restart)?;
    cluster.until_connected(&operator)?;
    for node in ["web1", "web2"] {
        let entries = cluster.at_agent(node)?.attempts()?;
        let of_old = entries.iter().find(|it| {
            let id = it.report.as_ref().and_then(|report| report.id.as_ref());
            it.term == old && id.is_some_and(|id| id.operation == 900)
        });
        let is_refused = |it: &v1::LedgerEntry| {
            it.report
                .as_ref()
                .is_some_and(|report| report.state() == v1::AttemptState::Refused)
        };
        ensure!(of_old.is_none_or(is_refused), "{of_old:?}");
    }

    // It is its term and nothing else: in one above, the same is obeyed.
    let before = cluster.story().count("term", "web@web2")?;
    other.speak_in(term + 1, &["web2"])?;
    other.order("web2", stop("newer", term + 1))?;
    let obeyed = other.outcome("newer")?;
    ensure!(obeyed.state() == v1::AttemptState::Done, "{obeyed:?}");
    ensure!(cluster.story().count("term", "web@web2")? == before + 1);
    Ok(())
}

/// The attempt that an agent has open.
fn under_way(cluster: &Cluster, node: &str) -> Result<v1::AttemptReport> {
    let agent: Operator = cluster.at_agent(node)?;
    let open = [v1::AttemptState::Accepted, v1::AttemptState::GoingDown];
    let reports = agent.attempts()?.into_iter().filter_map(|it| it.report);
    let mut reports = reports.filter(|it| open.contains(&it.state()));
    reports.next().context("no attempt is open")
}
