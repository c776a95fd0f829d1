//! Many agents in one process, behind the same seam as the program's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use interlock_agent::ledger::{Kept, Recorder};
use interlock_agent::session::{Agent, Attempt, Executor, Options, Outcome};
use interlock_mesh::channel::{self, Expected, Target};
use interlock_mesh::credentials;
use interlock_mesh::identity::Kind;
use interlock_model::ids::BootId;
use interlock_proto::v1;
use interlock_proto::v1::dispatch::Command;

use crate::lab::Lab;
use crate::scripted::{id, process};

const AGENTS: usize = 20;

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
    let address = coordinator
        .endpoint
        .strip_prefix("https://")
        .unwrap()
        .parse()
        .unwrap();
    let target = Target {
        address,
        expected: Expected::Coordinator,
    };
    let mut agents = Vec::new();
    for number in 0..AGENTS {
        let files = lab.issue(&format!("interlock://lab/agent/n{number}"));
        let (_, credentials) =
            credentials::open(files, Kind::Agent, credentials::system_clock()).unwrap();
        let options = Options {
            node: format!("n{number}").parse().unwrap(),
            boot: BootId("boot".into()),
            coordinators: vec![target.clone()],
            credentials,
            channel: channel::Options::default(),
        };
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
    let address = coordinator
        .endpoint
        .strip_prefix("https://")
        .unwrap()
        .parse()
        .unwrap();
    let files = lab.issue("interlock://lab/agent/n1");
    let (_, credentials) =
        credentials::open(files, Kind::Agent, credentials::system_clock()).unwrap();
    let options = Options {
        node: "n1".parse().unwrap(),
        boot: BootId("boot".into()),
        coordinators: vec![Target {
            address,
            expected: Expected::Coordinator,
        }],
        credentials,
        channel: channel::Options::default(),
    };
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
