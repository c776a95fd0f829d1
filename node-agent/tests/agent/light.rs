//! Many agents in one process, behind the same seam as the program's own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use interlock_agent::ledger::{Kept, Recorder};
use interlock_agent::session::{
    Agent, Assignment, Attempt, Board, Executor, LeaseWord, Options, Outcome, Permit,
};
use interlock_engine::agent::Peer;
use interlock_mesh::channel::{self, Expected, Target};
use interlock_mesh::credentials;
use interlock_mesh::identity::Kind;
use interlock_model::action;
use interlock_model::ids::BootId;
use interlock_model::observation::{InstanceObservation, InstanceState};
use interlock_proto::v1;
use interlock_proto::v1::agent_message::Message as Said;
use interlock_proto::v1::coordinator_message::Message as Order;
use interlock_proto::v1::dispatch::Command;

use crate::lab::Lab;
use crate::scripted::{Coordinator, id, patiently, process};

const AGENTS: usize = 20;

/// More than the desk has room for.
const STEPS: usize = 200;

fn options(lab: &Lab, coordinator: &Coordinator, node: &str) -> Options {
    let address = coordinator.endpoint.strip_prefix("https://").unwrap();
    let files = lab.issue(&format!("interlock://lab/agent/{node}"));
    let (_, credentials) =
        credentials::open(files, Kind::Agent, credentials::system_clock()).unwrap();
    Options {
        node: node.parse().unwrap(),
        boot: BootId("boot".into()),
        coordinators: vec![Target {
            address: address.parse().unwrap(),
            expected: Expected::Coordinator,
        }],
        credentials,
        channel: channel::Options::default(),
    }
}

struct Counting(Arc<AtomicUsize>);

impl Executor for Counting {
    async fn execute(&self, _: Attempt) -> Outcome {
        self.0.fetch_add(1, Ordering::Relaxed);
        Outcome::done("nothing to do")
    }
}

#[tokio::test]
async fn light_agents_carry_out_each_attempt_once() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let executed = Arc::new(AtomicUsize::new(0));
    let mut agents = Vec::new();
    for number in 0..AGENTS {
        let options = options(&lab, &coordinator, &format!("n{number}"));
        let executor = Arc::new(Counting(Arc::clone(&executed)));
        agents.push(Agent::start(
            options,
            Recorder::in_memory(),
            Kept::default(),
            |_| executor,
        ));
    }
    for _ in 0..AGENTS {
        let mut session = coordinator.session(1).await;
        for _ in 0..2 {
            session
                .dispatch(id("start", 1), Command::Start(process("web")))
                .await;
            assert_eq!(
                session.outcome(&id("start", 1)).await.state(),
                v1::AttemptState::Done
            );
        }
    }
    assert_eq!(executed.load(Ordering::Relaxed), AGENTS);
    for agent in agents {
        agent.stop("done").await;
    }
}

/// Its desk hangs, as on a disk, for as long as nothing is free.
struct Hanging {
    free: Mutex<mpsc::Receiver<()>>,
    heard: tokio::sync::mpsc::UnboundedSender<String>,
}

impl Executor for Hanging {
    async fn execute(&self, _: Attempt) -> Outcome {
        Outcome::done("nothing to do")
    }

    fn permit(&self, _: &action::Command) -> Permit {
        // Ends with the sender.
        let _ = tokio::task::block_in_place(|| self.free.lock().unwrap().recv());
        Permit::Granted
    }

    fn lease_word(&self, _: Peer, word: LeaseWord) {
        self.heard.send(word.service.to_string()).unwrap();
    }
}

/// A holder that does not hear in time that its renewal is acknowledged stops what it holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_leases_does_not_wait_behind_steps_that_wait_for_a_disk() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let options = options(&lab, &coordinator, "n1");
    let (frees, free) = mpsc::channel();
    let (heard, mut words) = tokio::sync::mpsc::unbounded_channel();
    let executor = Arc::new(Hanging {
        free: Mutex::new(free),
        heard,
    });
    let agent = Agent::start(options, Recorder::in_memory(), Kept::default(), |_| {
        executor
    });
    let mut session = coordinator.session(1).await;
    for step in 0..STEPS {
        let (id, start) = (id(&step.to_string(), 1), process(&format!("web{step}")));
        session.dispatch(id, Command::Start(start)).await;
    }
    let word = v1::LeaseWord {
        service: "db".into(),
        term: 1,
        word: Some(v1::lease_word::Word::ReleaseWritten(1)),
    };
    session.order(Order::Lease(word)).await;
    assert_eq!(patiently(words.recv()).await.as_deref(), Some("db"));

    drop(frees);
    let last = id(&(STEPS - 1).to_string(), 1);
    assert_eq!(
        session.outcome(&last).await.state(),
        v1::AttemptState::Done,
        "no step is lost"
    );
    agent.stop("done").await;
}

struct Posting(Board);

impl Executor for Posting {
    async fn execute(&self, attempt: Attempt) -> Outcome {
        if let action::Command::Start { service, .. } = attempt.command {
            let seen = InstanceObservation {
                state: InstanceState::Running,
                ..InstanceObservation::default()
            };
            self.0.post_instance(&service, seen);
        }
        Outcome::done("it runs")
    }

    fn assigned(&self, assignment: &Assignment) {
        for service in assignment.instances.keys() {
            self.0
                .post_instance(service, InstanceObservation::default());
        }
    }
}

#[tokio::test]
async fn what_an_attempt_brought_about_is_told_before_its_end() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let options = options(&lab, &coordinator, "n1");
    let agent = Agent::start(options, Recorder::in_memory(), Kept::default(), |handle| {
        Arc::new(Posting(handle.board().clone()))
    });
    let mut session = coordinator.session(1).await;
    for attempt in 1..=20 {
        session.assign(&[process("web")], attempt).await;
        session
            .instance("web", |seen| seen.state() == v1::InstanceState::Unknown)
            .await;
        session
            .dispatch(
                id("start", u64::from(attempt)),
                Command::Start(process("web")),
            )
            .await;
        let mut running = false;
        loop {
            match session.next().await {
                Said::Observed(seen) => {
                    let is_up = |seen: &v1::Instance| seen.state() == v1::InstanceState::Running;
                    running |= seen.instances.iter().any(is_up);
                }
                Said::Attempt(told) if told.state() == v1::AttemptState::Done => break,
                _ => {}
            }
        }
        assert!(running, "the end came first, at attempt {attempt}");
    }
    agent.stop("done").await;
}

struct Panicking;

impl Executor for Panicking {
    async fn execute(&self, _: Attempt) -> Outcome {
        panic!("a defect");
    }
}

#[tokio::test]
async fn a_defect_in_one_attempt_is_an_unknown_outcome_and_ends_nothing_else() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let options = options(&lab, &coordinator, "n1");
    let agent = Agent::start(options, Recorder::in_memory(), Kept::default(), |_| {
        Arc::new(Panicking)
    });
    let mut session = coordinator.session(1).await;
    for attempt in 1..=2 {
        session
            .dispatch(id("start", attempt), Command::Start(process("web")))
            .await;
        let outcome = session.outcome(&id("start", attempt)).await;
        assert!(
            outcome.state() == v1::AttemptState::Unknown && !outcome.repeatable,
            "{outcome:?}"
        );
    }
    agent.stop("done").await;
}
