//! An agent as a whole, and the handle on it.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use interlock_engine::agent::Peer;
use interlock_engine::agent::autonomy::Autonomy;
use interlock_engine::agent::guard::Memory;
use interlock_engine::agent::ledger::{ByHand, Entry, Ledger, Refusal, Trust};
use interlock_mesh::channel::{self, Target};
use interlock_mesh::credentials::Credentials;
use interlock_model::attempt::AttemptReport;
use interlock_model::ids::{AttemptId, BootId, OperationId, Term};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::Wanted;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::desk::{Act, Desk, NotTaken, take_up};
use super::guards::Guards;
use super::link::Link;
use super::open::Open;
use super::outbox::Outbox;
use super::questions::Questions;
use super::reach::{LinkState, Reach};
use super::{Assignment, Board, Claim, Claims, Clock, Executor};
use crate::ledger::{Kept, Recorder};

/// Orders of all coordinators together that wait for the desk; more wait in the streams.
const ORDERS: usize = 32;

/// People who wait for the desk.
const ACTS: usize = 4;

/// Who an agent is and whom it talks to.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node, as in the certificate.
    pub node: NodeName,
    /// This boot of the machine.
    pub boot: BootId,
    /// Every coordinator. None: the agent works on its own.
    pub coordinators: Vec<Target>,
    /// The certificate.
    pub credentials: Credentials,
    /// Time limits of the connections.
    pub channel: channel::Options,
}

/// A running agent. Dropping it ends its tasks without a word to the coordinators.
#[derive(Debug)]
pub struct Agent {
    handle: Handle,
    desk: JoinSet<()>,
    links: JoinSet<()>,
    stop_desk: CancellationToken,
    /// None until the agent is stopped, then the reason that coordinators are told.
    stop_links: watch::Sender<Option<String>>,
}

/// A handle on an agent: what it remembers and sees, and acts by hand. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    ledger: Arc<Mutex<Ledger>>,
    board: Board,
    acts: mpsc::Sender<Act>,
    reaches: Arc<[Arc<Reach>]>,
    guards: Arc<Guards>,
    claims: watch::Receiver<Claims>,
}

impl Agent {
    /// Starts an agent with what its ledger kept. `executor` is made from the handle. Must be called within a tokio
    /// runtime.
    pub fn start<E: Executor>(
        options: Options,
        recorder: Recorder,
        kept: Kept,
        executor: impl FnOnce(&Handle) -> Arc<E>,
    ) -> Self {
        let clock = Clock;
        // An earlier version kept the claims in the assignment.
        let claims = match kept.claims {
            Some(claims) => read_kept(&claims, "claims"),
            None => kept
                .assignment
                .as_deref()
                .and_then(|kept| read_kept::<Earlier>(kept, "assignment"))
                .map(|earlier| earlier.claims),
        };
        let kept_assignment = kept.assignment.as_deref();
        let assignment: Option<Assignment> =
            kept_assignment.and_then(|kept| read_kept(kept, "assignment"));
        let (acts, act_queue) = mpsc::channel(ACTS);
        let (orders, order_queue) = mpsc::channel(ORDERS);
        let reaches = options
            .coordinators
            .iter()
            .map(|target| Arc::new(Reach::new(target.address.to_string())));
        let (claims, held) = watch::channel(claims.unwrap_or_default());
        let handle = Handle {
            ledger: Arc::new(Mutex::new(Ledger::restore(
                options.boot.clone(),
                kept.records,
            ))),
            board: Board::default(),
            acts,
            reaches: reaches.collect(),
            guards: Arc::default(),
            claims: held,
        };
        let executor = executor(&handle);
        if let Some(assignment) = &assignment {
            take_up(assignment, &handle.board, &*executor);
        }
        let outboxes: Vec<Arc<Outbox>> = options
            .coordinators
            .iter()
            .map(|_| Arc::default())
            .collect();
        let desk = Desk {
            ledger: Arc::clone(&handle.ledger),
            recorder,
            autonomy: Autonomy::new(
                assignment.as_ref().map(|assignment| assignment.mark),
                clock.mono(),
            ),
            assignment,
            claims,
            executor: Arc::clone(&executor),
            board: handle.board.clone(),
            boot: options.boot.clone(),
            clock,
            outboxes: outboxes.clone(),
            orders: order_queue,
            acts: act_queue,
            guards: Arc::clone(&handle.guards),
            open: Open::new(),
            questions: Questions::default(),
        };
        let stop_desk = CancellationToken::new();
        let stop_links = watch::Sender::new(None);
        let mut links = JoinSet::new();
        let options = Arc::new(options);
        let process = uuid::Uuid::new_v4().to_string();
        for (number, (target, outbox)) in (0_u32..).zip(options.coordinators.iter().zip(outboxes)) {
            handle.board.hang(Arc::clone(outbox.bell()));
            let link = Link {
                peer: Peer(number),
                target: target.clone(),
                options: Arc::clone(&options),
                process: process.clone(),
                board: handle.board.clone(),
                outbox,
                orders: orders.clone(),
                executor: Arc::clone(&executor),
                reach: Arc::clone(&handle.reaches[number as usize]),
                clock,
                term: AtomicU64::new(0),
            };
            links.spawn(link.run(stop_links.subscribe()));
        }
        let mut desks = JoinSet::new();
        desks.spawn(desk.run(stop_desk.clone()));
        Self {
            handle,
            desk: desks,
            links,
            stop_desk,
            stop_links,
        }
    }

    /// The handle.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Says goodbye, makes durable what was taken, and ends. What the agent manages goes on.
    pub async fn stop(mut self, reason: &str) {
        self.stop_links.send_replace(Some(reason.to_owned()));
        while self.links.join_next().await.is_some() {}
        self.stop_desk.cancel();
        while self.desk.join_next().await.is_some() {}
    }
}

/// What an assignment of an earlier version has beside the rest.
#[derive(Deserialize)]
struct Earlier {
    #[serde(default)]
    claims: Claims,
}

/// What a coordinator said, as it was kept by an earlier start.
fn read_kept<T: DeserializeOwned>(kept: &[u8], what: &str) -> Option<T> {
    match serde_json::from_slice(kept) {
        Ok(said) => Some(said),
        Err(error) => {
            tracing::warn!(%error, what, "kept by another version; waiting for a coordinator");
            None
        }
    }
}

impl Handle {
    /// What is seen.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// What an instance should be.
    #[must_use]
    pub fn wanted(&self, service: &ServiceName) -> Option<Wanted> {
        self.ledger().wanted(service)
    }

    /// What an operation has proven to run of an instance.
    #[must_use]
    pub fn trust(&self, service: &ServiceName) -> Option<Trust> {
        self.ledger().trust(service).cloned()
    }

    /// What the guard of an instance had to remember when this agent started, or has left since.
    #[must_use]
    pub fn guard(&self, service: &ServiceName) -> Memory {
        self.ledger().guard(service)
    }

    /// Keeps what the guard of an instance has to remember. Returns at once: what is decided is written down while the
    /// pause before the restart passes, and a disk that does not take it keeps nothing down.
    pub fn keep_guard(&self, service: &ServiceName, memory: Memory) {
        self.guards.put(service.clone(), memory);
    }

    /// Is an attempt open on an instance?
    #[must_use]
    pub fn is_open(&self, service: &ServiceName) -> bool {
        self.ledger().open_on_instance(service).is_some()
    }

    /// The attempts that are open now.
    #[must_use]
    pub fn open(&self) -> Vec<Entry> {
        self.ledger().open().cloned().collect()
    }

    /// Is everything that the ledger knows durable, and so on its way to whoever is to be told?
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.ledger().uncommitted() == 0
    }

    /// What is remembered of an attempt.
    #[must_use]
    pub fn entry(&self, id: &AttemptId) -> Option<Entry> {
        self.ledger().entry(id).cloned()
    }

    /// The highest term obeyed.
    #[must_use]
    pub fn term(&self) -> Term {
        self.ledger().term()
    }

    /// At most `limit` attempts and as many refusals, each newest first.
    #[must_use]
    pub fn history(&self, limit: usize) -> (Vec<Entry>, Vec<Refusal>) {
        let ledger = self.ledger();
        let mut entries: Vec<Entry> = ledger.entries().cloned().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse((entry.at, entry.accepted)));
        entries.truncate(limit);
        (
            entries,
            ledger.refusals().rev().take(limit).cloned().collect(),
        )
    }

    /// What operations hold of this node, as far as was told.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        let closed = self.ledger().closed_below();
        self.claims.borrow().open(closed).cloned().collect()
    }

    /// Does an operation hold this instance, as far as was told?
    #[must_use]
    pub fn is_held(&self, service: &ServiceName) -> bool {
        let closed = self.ledger().closed_below();
        let claims = self.claims.borrow();
        claims
            .open(closed)
            .any(|claim| claim.services.contains(service))
    }

    /// Changes with what operations hold.
    pub(crate) fn watch_claims(&self) -> watch::Receiver<Claims> {
        self.claims.clone()
    }

    /// The state of the link to each coordinator.
    #[must_use]
    pub fn links(&self) -> Vec<LinkState> {
        self.reaches.iter().map(|reach| reach.get()).collect()
    }

    /// Does something by hand and waits for its end. What an operation holds is left alone, unless it is one of `over`.
    ///
    /// # Errors
    /// [`NotTaken`] if it was not begun, or the agent ends before it has.
    pub async fn by_hand(
        &self,
        act: ByHand,
        over: Vec<OperationId>,
    ) -> Result<AttemptReport, NotTaken> {
        let (answer, answered) = oneshot::channel();
        self.acts
            .send(Act { act, over, answer })
            .await
            .map_err(|_| NotTaken::Ending)?;
        answered.await.unwrap_or(Err(NotTaken::Ending))
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // See the desk, which alone changes it.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
