//! Leases: who may be primary.
//!
//! The machines of both sides are `interlock_engine::lease`, and carry nothing out. This is the shell of the coordinator's
//! side of them.
//!
//! ```text
//!   agents ──standing──►  keeper, one a service ──► Leader (pure)
//!     ▲ │                    ▲  │  reads, bumps │        │
//!     │ └─renewal, release─► writer ──────────► store    │ facts: who holds the service, what is wanted
//!     └──────── words ───────┴──┘                     overseer ──► driver (engine)
//! ```
//!
//! # Terms
//! * **Word**: what an agent is told of a lease. Words get lost and are repeated; none gives a right.
//! * **Keeper**: the task that owns the leader of one service, as long as the applied spec leases it.
//! * **Facts**: what the engine knows that a leader has to know. The overseer looks them up for all services at once.
//! * **Claim**: what keeps operations off while automatic failover begins an epoch: see `claim`.
//!
//! # Invariants
//! * **Nothing of this waits for the driver's commits**, but lines for people. Renewals and releases go from the session's
//!   stream to the store; the driver is asked for facts and for claims, which change nothing of the store.
//! * **A leader is told only what was read** by its own keeper, linearizably (safety rule E3).
//! * **Only an accepted session is heard**: one that the driver has not opened, or has ended, says nothing of leases.
//! * **E18 without a key**: claims of operations are the operations themselves, known to the engine of the one process
//!   that leads. A bump of an earlier leader fails by its guard, one of this process by what the engine has taken. The bump
//!   of an operation is conditional on the operation's own head, which is rewritten when it turns.
//!
//! An automatic failover rests on a lease that was released or has expired, or was never held, or on a power source that has
//! confirmed that the holder's machine is off: that is ordered through the engine, so that no operation is in the way of it.
//!
//! | file | holds |
//! |---|---|
//! | `wire` | reports of agents and words to them |
//! | `book` | keys, readings, transactions |
//! | `writer` | renewals and releases |
//! | `keeper` | the shell around one leader |
//! | `poke` | what has it read at once |
//! | `claim` | the claim of automatic failover |
//! | `fencing` | orders to switch a lost holder off |
//! | `survey` | what the engine knows |
//! | `story`, `why`, `scribe`, `board` | events, the record of why an epoch began, the status |
//! | `decisions` | those records, for whoever asks |

mod board;
mod book;
mod claim;
mod decisions;
mod fencing;
mod keeper;
mod poke;
mod scribe;
mod story;
mod survey;
mod why;
mod wire;
mod writer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use interlock_engine::lease::leader::Standing;
use interlock_model::names::{NodeName, ServiceName};
use interlock_proto::v1;
use interlock_proto::v1::coordinator_message::Message;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::driver::{Desk, Handle, LoadError, NotDone};
use crate::store::Store;

pub use board::{Board, Shown};
pub(crate) use book::LEASES;
pub(crate) use decisions::decisions;
pub(crate) use why::WHY;

use book::Book;
use keeper::Keeper;
use poke::Pokes;
use scribe::{Note, Scribe};
use survey::{Survey, survey};
use wire::{Report, Word};
use writer::Lines;

/// How often the engine is asked for facts at least. Most of them change with something that the driver tells of.
const LOOK: Duration = Duration::from_millis(200);

/// How often at most.
const AT_MOST: Duration = Duration::from_millis(50);

/// How many standings may wait for a keeper. Each replaces the one before it of the same node.
const STANDINGS: usize = 64;

/// Why the leases could not be taken up.
#[derive(Debug, thiserror::Error)]
pub enum NotBegun {
    /// A lease in the store cannot be read.
    #[error("the lease of {service} cannot be read")]
    Read {
        /// Of which service.
        service: ServiceName,
        /// Why.
        source: LoadError,
    },
    /// The driver has ended.
    #[error("the leases cannot be taken up")]
    Driver(#[from] NotDone),
}

/// A cheap handle to the leases.
#[derive(Debug, Clone)]
pub struct Leases(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    driver: Handle,
    book: Book,
    board: Board,
    scribe: Scribe,
    lines: Lines,
    pokes: Pokes,
    keepers: Mutex<BTreeMap<ServiceName, mpsc::Sender<Standing>>>,
}

impl Leases {
    /// Takes the leases of the store up. To be awaited before anybody is served: an operation that a failover of an
    /// earlier process keeps off must not begin.
    ///
    /// # Errors
    /// See [`NotBegun`].
    pub async fn begin(driver: Handle, store: Arc<dyn Store>) -> Result<Self, NotBegun> {
        let board = driver.call(|desk| desk.leases.clone()).await?;
        let leases = Self(Arc::new(Shared {
            scribe: Scribe::begin(driver.clone()),
            driver,
            book: Book::new(store),
            board,
            lines: Lines::default(),
            pokes: Pokes::default(),
            keepers: Mutex::default(),
        }));
        let found = leases.driver().call(|desk| survey(desk)).await?;
        let incarnation = leases.book().incarnation();
        for service in found.keys() {
            let stored = leases.book().read(service).await;
            let stored = stored.map_err(|source| NotBegun::Read {
                service: service.clone(),
                source,
            })?;
            claim::reserve(&leases, service, &stored).await;
            if let Some((epoch, node)) = book::claim(&stored, &incarnation) {
                // An operation that was under way holds it: then the claim had been given up before.
                drop(claim::take(&leases, service, epoch, node.clone()).await);
            }
        }
        tokio::spawn(oversee(leases.clone(), found));
        Ok(leases)
    }

    /// An agent says something of a lease, in its session `opened`.
    pub(crate) fn heard(&self, node: &NodeName, opened: u64, report: &v1::LeaseReport) {
        if !self.driver().sessions().is_current(node, opened) {
            return;
        }
        match wire::report(report, node) {
            Ok((_, Report::Renewal(request))) => self.renewal(request),
            Ok((_, Report::Release(report))) => self.release(report),
            Ok((service, Report::Standing(standing))) => {
                let keepers = self.keepers();
                let Some(keeper) = keepers.get(&service) else {
                    return;
                };
                // A keeper that does not get on is told again: standings are repeated.
                drop(keeper.try_send(standing));
            }
            Err(invalid) => warn!(%node, %invalid, "what an agent says of a lease was dropped"),
        }
    }

    /// Tells an agent something; false if it is not connected or does not take it.
    fn tell(&self, node: &NodeName, service: &ServiceName, word: &Word) -> bool {
        let term = self.driver().leading().term();
        let word = wire::word(service, term.0, word);
        self.driver().sessions().say(node, Message::Lease(word))
    }

    fn note(&self, note: Note) {
        self.0.scribe.note(note);
    }

    fn driver(&self) -> &Handle {
        &self.0.driver
    }

    fn book(&self) -> &Book {
        &self.0.book
    }

    fn board(&self) -> &Board {
        &self.0.board
    }

    fn pokes(&self) -> &Pokes {
        &self.0.pokes
    }

    fn lines(&self) -> &Lines {
        &self.0.lines
    }

    fn keepers(&self) -> MutexGuard<'_, BTreeMap<ServiceName, mpsc::Sender<Standing>>> {
        // Nothing in here panics halfway through a change.
        let keepers = self.0.keepers.lock();
        keepers.unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a keeper for each service that has none, and lets go of those whose service is leased no more.
    fn keep(&self, surveyed: &Survey, surveys: &watch::Receiver<Arc<Survey>>) {
        let mut keepers = self.keepers();
        // One whose channel is closed has ended, and is begun anew.
        keepers.retain(|service, keeper| surveyed.contains_key(service) && !keeper.is_closed());
        for (service, facts) in surveyed {
            if !keepers.contains_key(service) {
                let (sender, standings) = mpsc::channel(STANDINGS);
                let (name, facts) = (service.clone(), facts.clone());
                let keeper = Keeper::new(self.clone(), name, facts, surveys.clone(), standings);
                tokio::spawn(keeper.run());
                keepers.insert(service.clone(), sender);
            }
        }
    }
}

/// Asks the engine for facts, and sees to it that each leased service has a keeper. Ends with the driver.
async fn oversee(leases: Leases, first: Survey) {
    let mut changes = leases.driver().changes();
    let (tell, surveys) = watch::channel(Arc::new(first));
    loop {
        let surveyed = Arc::clone(&surveys.borrow());
        leases.keep(&surveyed, &surveys);
        tokio::time::sleep(AT_MOST).await;
        // What is new is worth a look, and so is that nothing was told of for a while.
        drop(tokio::time::timeout(LOOK, changes.changed()).await);
        let board = leases.board().clone();
        let look = move |desk: &mut Desk| {
            // What an operation waits for, and plans go by, is told here: a keeper waits for nobody.
            desk.coordinator.judged(board.judged());
            survey(desk)
        };
        let Ok(surveyed) = leases.driver().call(look).await else {
            return;
        };
        tell.send_if_modified(|known| {
            let is_new = **known != surveyed;
            if is_new {
                *known = Arc::new(surveyed);
            }
            is_new
        });
    }
}
