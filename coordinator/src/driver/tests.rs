//! The driver on a store whose disk is full for a while: everybody is heard and answered, and told what is durable only.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use interlock_engine::coordinator::{Hello, Loaded, StartRequest};
use interlock_model::action::Action;
use interlock_model::ids::{Generation, OperationId};
use interlock_model::plan::{Plan, PlanKind, SealedPlan, Step, StepId};
use interlock_model::spec::{Role, Spec};
use interlock_proto::v1;
use interlock_proto::v1::operation_service_server::OperationService;
use interlock_proto::v1::plan_service_server::PlanService;
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::leadership::{Candidate, Sole};
use crate::services::{Operations, Planning, Plans};
use crate::sessions::Outbox;
use crate::store::embedded::{Embedded, IfMissing, Options};
use crate::store::{
    CommitError, Entry, Error, Incarnation, Key, Outcome, Page, PageRequest, Prefix, Revision,
    Snapshot, Transaction, Watch,
};

/// The embedded store, on a disk that can be filled.
#[derive(Debug)]
pub(super) struct Filled {
    inner: Embedded,
    full: watch::Sender<bool>,
    /// How many commits were refused.
    refused: watch::Sender<u32>,
    /// Nothing is heard of a commit of this key; of any, if that is a part of all.
    silent: watch::Sender<Option<&'static str>>,
}

impl Store for Filled {
    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
    }
    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        self.inner.revision()
    }
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        self.inner.get(key)
    }
    fn range<'a>(
        &'a self,
        prefix: &'a Prefix,
        page: PageRequest<'a>,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        self.inner.range(prefix, page)
    }
    fn snapshot<'a>(&'a self, prefix: &'a Prefix) -> BoxFuture<'a, Result<Snapshot, Error>> {
        self.inner.snapshot(prefix)
    }
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, CommitError>> {
        if *self.full.borrow() {
            self.refused.send_modify(|count| *count += 1);
            let source = Arc::new(std::io::Error::from(std::io::ErrorKind::StorageFull));
            let place = "the store".to_owned();
            let error = CommitError::NotCommitted(Error::NoSpace { place, source });
            return Box::pin(async { Err(error) });
        }
        let what = format!("{transaction:?}");
        let is_silent = move |of: &Option<&str>| of.is_some_and(|key| what.contains(key));
        let mut silent = self.silent.subscribe();
        Box::pin(async move {
            silent.wait_for(|of| !is_silent(of)).await.unwrap();
            self.inner.commit(transaction).await
        })
    }
    fn watch<'a>(
        &'a self,
        prefix: &'a Prefix,
        from: Revision,
    ) -> BoxFuture<'a, Result<Watch, Error>> {
        self.inner.watch(prefix, from)
    }
}

/// A driver that runs.
pub(super) struct Bench {
    pub(super) handle: Handle,
    pub(super) store: Arc<Filled>,
    sessions: u64,
    _directory: tempfile::TempDir,
}

impl Bench {
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Filled {
            inner: open(directory.path()).await,
            full: watch::Sender::new(false),
            refused: watch::Sender::new(0),
            silent: watch::Sender::new(None),
        });
        let shared: Arc<dyn Store> = Arc::<Filled>::clone(&store);
        let leadership: Arc<dyn Leadership> = Arc::new(Sole::new(Arc::clone(&shared)));
        let candidate = Candidate {
            coordinator: "mgmt".into(),
            process: Uuid::from_u128(1),
        };
        let leading = leadership.campaign(candidate).await.unwrap();
        let engine = Coordinator::recover(leading.term(), Loaded::default()).unwrap();
        let (driver, handle) = Driver::new("mgmt".into(), engine, shared, leadership, leading);
        tokio::spawn(driver.run());
        handle
            .call(|desk| {
                let text = "cluster: bench\nnodes: { a: { address: 10.0.0.2 } }\n";
                let spec = Spec::parse(text.as_bytes(), "bench.yaml").unwrap().spec;
                let now = clock::now();
                desk.coordinator.apply_spec(
                    Arc::new(spec),
                    text.into(),
                    String::new(),
                    "admin",
                    now,
                );
            })
            .await
            .unwrap();
        Self {
            handle,
            store,
            sessions: 0,
            _directory: directory,
        }
    }

    /// The events of a kind.
    async fn told(&self, kind: &str) -> Vec<String> {
        let events = self
            .store
            .snapshot(&Prefix::new(interlock_engine::coordinator::EVENTS).unwrap())
            .await
            .unwrap();
        events
            .entries
            .iter()
            .map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
            .filter(|event| event.contains(kind))
            .collect()
    }

    fn fill(&self, full: bool) {
        self.store.full.send_replace(full);
    }

    fn silence(&self, of: Option<&'static str>) {
        self.store.silent.send_replace(of);
    }

    /// Waits until people are told this of the store.
    async fn is_told(&self, words: &str) {
        let mut trouble = self.handle.trouble();
        let told = trouble.wait_for(|it| it.as_ref().is_some_and(|it| it.contains(words)));
        tokio::time::timeout(LONG, told)
            .await
            .expect("it is told")
            .unwrap();
    }

    /// Waits until the store has refused so many commits.
    async fn refused(&self, count: u32) {
        let mut refused = self.store.refused.subscribe();
        refused.wait_for(|so_far| *so_far >= count).await.unwrap();
    }

    /// The agent of a says hello and remembers a term; the term that it is welcomed in, if it is.
    async fn hello(&mut self, highest_term: Term) -> Option<Term> {
        self.says(Hello {
            highest_term,
            ..Hello::default()
        })
        .await?
        .ok()
    }

    /// The agent of a says hello; nothing if its session only ends.
    async fn says(&mut self, hello: Hello) -> Option<Result<Term, tonic::Status>> {
        let (outbox, mut outgoing) = Outbox::new();
        self.sessions += 1;
        let opening = Opening {
            node: "a".parse().unwrap(),
            number: self.sessions,
            address: ([127, 0, 0, 1], 1).into(),
            outbox,
            hello: Box::new(hello),
            facts: v1::Facts::default(),
            certificate_ends: interlock_model::time::Timestamp(0),
        };
        self.handle.opened(opening).await.unwrap();
        let first = match *outgoing.next().await? {
            Ok(first) => first,
            Err(refused) => return Some(Err(refused)),
        };
        match first.message? {
            v1::coordinator_message::Message::Welcome(welcome) => Some(Ok(Term(welcome.term))),
            other => panic!("{other:?} before a welcome"),
        }
    }

    /// Starts an operation that waits for an approval.
    pub(super) async fn starts(&self) -> OperationId {
        self.handle.call(Self::start()).await.unwrap()
    }

    fn start() -> impl FnOnce(&mut Desk) -> OperationId + std::marker::Send {
        let step = Step {
            id: StepId::new("approve:look"),
            action: Action::Approve {
                gate: "look".parse().unwrap(),
                text: "Look at it".into(),
                role: Role::Operator,
            },
            node: None,
            service: None,
            after: Vec::new(),
            gates: Vec::new(),
            healthy: Vec::new(),
            timeout: Duration::from_secs(60),
            undo: None,
        };
        let plan = Plan {
            cluster: "bench".parse().unwrap(),
            generation: Generation(1),
            kind: PlanKind::Startup,
            scope: "--all".into(),
            assumptions: BTreeMap::new(),
            accepted: BTreeMap::new(),
            forced: Vec::new(),
            keeps: std::collections::BTreeSet::new(),
            texts: std::collections::BTreeMap::new(),
            steps: vec![step],
        };
        let request = StartRequest {
            plan: Arc::new(SealedPlan::seal(plan).unwrap()),
            by: "anna".into(),
            reason: "because".into(),
            single_step: false,
        };
        move |desk: &mut Desk| desk.coordinator.start(&request, clock::now()).unwrap()
    }

    pub(super) async fn get(&self, operation: &str) -> Result<v1::Operation, tonic::Status> {
        let store: Arc<dyn Store> = Arc::<Filled>::clone(&self.store);
        let request = v1::GetOperationRequest {
            operation: operation.into(),
            ..v1::GetOperationRequest::default()
        };
        Operations::new(self.handle.clone(), store, Planning::new())
            .get_operation(tonic::Request::new(request))
            .await
            .map(tonic::Response::into_inner)
    }
}

async fn open(directory: &Path) -> Embedded {
    let options = Options {
        path: directory.join("store"),
        if_missing: IfMissing::Create,
    };
    Embedded::open(options).await.unwrap()
}

#[tokio::test]
async fn a_term_is_raised_when_the_disk_has_room_and_questions_are_answered_until_then() {
    let mut bench = Bench::new().await;
    bench.fill(true);
    assert_eq!(
        bench.hello(Term(9)).await,
        None,
        "it would refuse everything"
    );
    bench.refused(2).await;
    let trouble = bench.handle.call(|desk| desk.trouble()).await.unwrap();
    assert!(trouble.is_some_and(|why| why.contains("cannot grow")));
    assert_eq!(
        bench.hello(Term(0)).await,
        Some(Term(1)),
        "another one that knows no better"
    );

    bench.fill(false);
    let welcomed = loop {
        if let Some(term) = bench.hello(Term(9)).await {
            break term;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(welcomed, Term(10));
    // Writing goes on under the new guard.
    bench.starts().await;
    assert_eq!(
        bench.handle.call(|desk| desk.trouble()).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn what_waits_for_the_disk_when_the_term_is_raised_is_written_under_the_new_guard() {
    let mut bench = Bench::new().await;
    bench.fill(true);
    let handle = bench.handle.clone();
    let started = bench.starts();
    let meanwhile = async {
        bench.refused(1).await;
        let store = Arc::clone(&bench.store);
        let mut other = Bench {
            handle,
            store,
            sessions: 0,
            _directory: tempfile::tempdir().unwrap(),
        };
        assert_eq!(other.hello(Term(9)).await, None);
        other.fill(false);
    };
    let (id, ()) = tokio::join!(started, meanwhile);
    assert_eq!(id, OperationId(1));
    while bench.hello(Term(9)).await.is_none() {
        tokio::task::yield_now().await;
    }
    assert!(bench.get("op-1").await.is_ok());
}

#[tokio::test]
async fn an_operation_is_shown_when_it_is_durable_and_not_before() {
    let bench = Bench::new().await;
    bench.fill(true);
    let shown = async {
        bench.refused(1).await;
        let early = bench.get("op-1").await;
        assert_eq!(
            early.map_err(|status| status.code()),
            Err(tonic::Code::NotFound),
            "a crash would have made this untrue"
        );
        bench.fill(false);
    };
    let (id, ()) = tokio::join!(bench.starts(), shown);
    let shown = bench.get(&id.to_string()).await.unwrap();
    assert_eq!(shown.summary.unwrap().state, "running");
}

#[tokio::test]
async fn an_agent_that_names_numbers_which_nobody_counts_to_is_refused_alone() {
    let mut bench = Bench::new().await;
    let term = Hello {
        highest_term: Term(u64::MAX),
        ..Hello::default()
    };
    let operation = Hello {
        highest_operation: OperationId(u64::MAX - 1),
        ..Hello::default()
    };
    for (hello, named) in [
        (term, "18446744073709551615"),
        (operation, "18446744073709551614"),
    ] {
        let refused = bench.says(hello).await.unwrap().unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert!(refused.message().contains(named), "{refused}");
    }
    // The control plane lives on, where it was.
    assert_eq!(bench.hello(Term(0)).await, Some(Term(1)));
    assert_eq!(bench.starts().await, OperationId(1));
    let told = bench.told("node-refused").await;
    assert_eq!(told.len(), 1, "people are told once: {told:?}");
    assert!(told[0].contains("the agent of a") && told[0].contains("18446744073709551615"));
}

#[tokio::test]
async fn an_agent_of_another_store_is_no_silent_machine_people_are_told_that_it_is_refused_and_why()
{
    let mut bench = Bench::new().await;
    let stranger = || Hello {
        incarnation: "another".into(),
        ..Hello::default()
    };
    for _ in 0..2 {
        let refused = bench.says(stranger()).await.unwrap().unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    }
    let causes = bench
        .handle
        .call(|desk| desk.coordinator.causes(clock::now()))
        .await
        .unwrap();
    assert_eq!(causes.len(), 1, "{causes:?}");
    assert_eq!(causes[0].subject, "a");
    let adopt = "interlockctl store adopt another";
    assert!(
        causes[0]
            .what
            .starts_with("refused: this agent works for the store another")
            && causes[0].what.contains(adopt),
        "{causes:?}"
    );
    // What is written later is durable later.
    assert!(bench.hello(Term(0)).await.is_some());
    bench.starts().await;
    assert_eq!(bench.told("node-refused").await.len(), 1, "once");
    let causes = bench
        .handle
        .call(|desk| desk.coordinator.causes(clock::now()))
        .await;
    assert_eq!(causes.unwrap(), [], "it is let in");
}

#[tokio::test]
async fn a_change_that_no_store_takes_fails_alone_and_the_coordinator_goes_on() {
    let mut bench = Bench::new().await;
    let id = bench.starts().await;
    let key = "/activity/too-much";
    let refused = bench
        .handle
        .call(move |desk| {
            desk.coordinator.event("unheard-of", clock::now(), |_| {});
            let large = vec![b'x'; 2_000_000];
            desk.write([Write {
                key: key.into(),
                value: Some(large),
            }]);
        })
        .await
        .unwrap_err();
    let said = refused.to_string();
    assert!(
        said.contains(key) && said.contains("2000000") && said.contains("1507328"),
        "sizes and limits: {said}"
    );
    assert_eq!(
        tonic::Status::from(refused).code(),
        tonic::Code::InvalidArgument
    );

    // Everything else is as it was, and goes on.
    assert_eq!(bench.hello(Term(0)).await, Some(Term(1)));
    let shown = bench.get(&id.to_string()).await.unwrap();
    assert_eq!(shown.summary.unwrap().state, "running");
    let events = bench
        .store
        .snapshot(&Prefix::new(interlock_engine::coordinator::EVENTS).unwrap())
        .await
        .unwrap();
    let is_told = |text: &str| {
        let mut events = events.entries.iter();
        events.any(|event| String::from_utf8_lossy(&event.value).contains(text))
    };
    assert!(is_told("change-refused"), "people are told");
    assert!(
        !is_told("unheard-of"),
        "what came with it is not kept either"
    );
}

#[tokio::test]
async fn an_operation_whose_record_no_store_takes_is_halted() {
    let bench = Bench::new().await;
    let id = bench.starts().await;
    let refused = bench
        .handle
        .call(move |desk| {
            let key = interlock_engine::coordinator::journal_key(id, 9);
            desk.write([Write {
                key,
                value: Some(vec![b'x'; 2_000_000]),
            }]);
        })
        .await;
    assert!(refused.is_err());
    let halted = bench.get(&id.to_string()).await.unwrap();
    assert_eq!(halted.summary.unwrap().state, "needs-attention");
    assert!(halted.attention.contains("2000000"), "{}", halted.attention);
}

#[tokio::test]
async fn a_second_process_that_speaks_as_a_node_ends_the_session_of_the_first_and_is_not_let_in() {
    let mut bench = Bench::new().await;
    let process = |process: &str| Hello {
        process: process.into(),
        ..Hello::default()
    };
    assert!(bench.says(process("one")).await.unwrap().is_ok());
    for refused in ["two", "one", "two"] {
        let refused = bench.says(process(refused)).await.unwrap().unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unavailable);
        assert!(refused.message().contains("two agents speak as a"));
    }
    let alive = bench
        .handle
        .call(|desk| desk.coordinator.view().alive(&"a".parse().unwrap()))
        .await;
    assert_eq!(alive, Ok(false), "none of them is believed");
}

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

/// How long somebody waits at a screen.
const AT_A_SCREEN: Duration = Duration::from_secs(4);

#[tokio::test]
async fn who_waits_at_a_screen_is_told_of_a_full_disk_and_whether_what_they_asked_for_is_to_come() {
    let bench = Bench::new().await;
    bench.fill(true);
    let first = tokio::time::timeout(AT_A_SCREEN, bench.handle.begin(Bench::start())).await;
    let waits = first.expect("told in time").unwrap_err();
    let text = waits.to_string();
    assert!(matches!(waits, NotDone::Waits(_)), "{waits:?}");
    for part in ["it is not done yet", "the store cannot grow", "free space"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let second = bench.handle.begin(Bench::start()).await.unwrap_err();
    assert!(matches!(second, NotDone::Stuck(_)), "{second:?}");
    let status = tonic::Status::from(second);
    assert_eq!(interlock_mesh::reason::of(&status), Some("store-stuck"));
    assert!(
        status.message().starts_with("nothing was begun"),
        "{status}"
    );

    bench.fill(false);
    while bench.handle.can_write().is_err() {
        tokio::task::yield_now().await;
    }
    assert!(bench.get("op-1").await.is_ok(), "the first was to come");
    assert!(bench.get("op-2").await.is_err(), "the second was not begun");
}

/// An answer that does not come would leave it open whether anything was begun.
#[tokio::test]
async fn a_write_of_which_nothing_is_heard_is_told_although_it_has_not_failed() {
    let mut bench = Bench::new().await;
    bench.silence(Some(""));
    let first = tokio::time::timeout(LONG, bench.handle.begin(Bench::start())).await;
    let waits = first.expect("told in time").unwrap_err();
    assert!(matches!(waits, NotDone::Waits(_)), "{waits:?}");
    let status = tonic::Status::from(waits);
    assert_eq!(interlock_mesh::reason::of(&status), Some("store-stuck"));
    for part in ["it is not done yet", "look then"] {
        assert!(status.message().contains(part), "{part}: {status}");
    }
    bench.is_told("nothing has been heard of a write").await;
    let second = bench.handle.begin(Bench::start()).await.unwrap_err();
    assert!(matches!(second, NotDone::Stuck(_)), "{second:?}");
    bench.silence(None);
    while bench.handle.can_write().is_err() {
        tokio::task::yield_now().await;
    }
    assert!(bench.get("op-1").await.is_ok(), "the first was to come");

    // The same goes for a term that is to be raised.
    bench.silence(Some("/control/term"));
    assert_eq!(bench.hello(Term(9)).await, None);
    bench.is_told("nothing has been heard of a write").await;
    bench.silence(None);
    while bench.handle.can_write().is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_plan_that_needs_the_word_of_a_power_source_does_not_wait_for_a_full_disk() {
    let mut bench = Bench::new().await;
    let powered = |desk: &mut Desk| {
        let text = "cluster: bench\npower: { box: { fence: fence_box, via: [a] } }\nnodes:\n  \
                    a: { address: 10.0.0.2 }\n  b: { address: 10.0.0.3, power: { by: box, plug: pb } }\n";
        let spec = Arc::new(Spec::parse(text.as_bytes(), "bench.yaml").unwrap().spec);
        let now = clock::now();
        desk.coordinator
            .apply_spec(spec, text.into(), String::new(), "admin", now);
    };
    bench.handle.call(powered).await.unwrap();
    assert!(bench.hello(Term(0)).await.is_some());
    bench.fill(true);
    let something = |desk: &mut Desk| {
        desk.coordinator
            .event("something", clock::now(), |event| event.text = "is".into());
    };
    bench.handle.begin(something).await.unwrap_err();

    let request = v1::MakePlanRequest {
        kind: "startup".into(),
        all: true,
        ..v1::MakePlanRequest::default()
    };
    let plans = Plans::new(bench.handle.clone(), Planning::new());
    let planned = plans.make_plan(tonic::Request::new(request));
    let planned = tokio::time::timeout(AT_A_SCREEN, planned).await;
    let refused = planned.expect("told in time").unwrap_err();
    assert_eq!(interlock_mesh::reason::of(&refused), Some("store-stuck"));
    assert!(
        refused.message().contains("the store cannot grow"),
        "{refused}"
    );
}
