//! How the rest of the agent talks to the thread that keeps the roles.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use interlock_engine::lease::holder::{Event, Facts, Tenure};
use interlock_model::action::Part;
use interlock_model::lease::{Epoch, Holder as Member};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::Loss;
use tokio::sync::{mpsc, oneshot, watch};

use super::facts;
use super::input::{Input, Newcomer, Order, Outcome, Readiness, Rest, Sight};
use super::keeper::Keeper;
use super::sign::Signs;
use super::tenures::Tenures;
use super::view::{View, Views};
use crate::config::Reset;
use crate::peers::Question;
use crate::session::{LeaseMail, LeaseWord};
use crate::shim::Grip;
use crate::watchdog::Dog;

/// What keeping roles takes.
#[derive(Debug)]
pub(crate) struct Options {
    /// This node, in this boot.
    pub(crate) me: Member,
    /// Where facts are kept.
    pub(crate) facts: PathBuf,
    /// Where is kept what must not outlive the boot.
    pub(crate) runtime: PathBuf,
    /// What is done when a forced stop hangs.
    pub(crate) reset: Reset,
    /// How many coordinators there are.
    pub(crate) coordinators: usize,
    /// The watchdog device, which no role has armed yet.
    pub(crate) dog: Dog,
    /// Takes questions to other members. Not bounded: the thread waits for nobody, and asks each once in R.
    pub(crate) questions: mpsc::UnboundedSender<Question>,
}

/// Roles cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory cannot be used.
    #[error("cannot use {0} for the roles of this node: {1}")]
    Dir(PathBuf, &'static str, #[source] io::Error),
    /// The thread cannot be started.
    #[error("cannot start the thread that keeps the roles of this node")]
    Thread(#[source] io::Error),
}

/// A handle on the thread. Cheap to clone. The thread goes on until the process ends, and outlives all handles: who holds a
/// role is watched for as long as there is anybody to watch.
#[derive(Debug, Clone)]
pub(crate) struct Roles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Not bounded: whoever tells something must not wait for this thread, and it does nothing that waits.
    inputs: Sender<Input>,
    views: watch::Receiver<Views>,
    signs: watch::Sender<Signs>,
    mails: Vec<Arc<LeaseMail>>,
    facts: PathBuf,
    runtime: PathBuf,
    begun: Mutex<bool>,
}

impl Roles {
    /// Starts the thread, and gives what it has the runtime do.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) fn start(options: Options) -> Result<(Self, mpsc::UnboundedReceiver<Order>), Error> {
        let (inputs, queue) = channel();
        let (jobs, todo) = channel();
        let (works, work) = mpsc::unbounded_channel();
        let (views, seen) = watch::channel(Views::new());
        let signs = watch::Sender::new(Signs::new());
        let mails: Vec<Arc<LeaseMail>> =
            (0..options.coordinators).map(|_| Arc::default()).collect();
        let shared = Shared {
            inputs: inputs.clone(),
            views: seen,
            signs: signs.clone(),
            mails: mails.clone(),
            facts: options.facts.clone(),
            runtime: options.runtime.clone(),
            begun: Mutex::new(false),
        };
        let dir = options.facts.clone();
        spawn("roles-disk", move || facts::write_all(&dir, &todo, &inputs))?;
        let keeper = Keeper::new(options, mails, jobs, works, (views, signs));
        spawn("roles", move || {
            let ended = catch_unwind(AssertUnwindSafe(|| keeper.run(&queue)));
            if ended.is_err() {
                // Without it nobody ends a primary whose lease is over. Another agent takes up what this one kept.
                tracing::error!(
                    "the thread that keeps the roles of this node has panicked; ending this agent at once"
                );
                std::process::abort();
            }
        })?;
        let shared = Arc::new(shared);
        Ok((Self { shared }, work))
    }

    /// Makes the directories, when the first leased service is assigned: an agent without one leaves nothing behind.
    fn begin(&self) -> Result<(), Error> {
        let mut begun = self
            .shared
            .begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !*begun {
            let Shared { facts, runtime, .. } = &*self.shared;
            facts::prepare(facts).map_err(|error| {
                Error::Dir(
                    facts.clone(),
                    "it must be on a local disk and writable",
                    error,
                )
            })?;
            Tenures::open(runtime).map_err(|error| {
                let what = "set [lease] runtime_dir to a directory in memory, such as below /run";
                Error::Dir(runtime.clone(), what, error)
            })?;
            *begun = true;
        }
        Ok(())
    }

    /// What was kept of a service, durably and for this boot.
    ///
    /// # Errors
    /// If it cannot be known what this node has given back.
    pub(crate) fn kept(
        &self,
        service: &ServiceName,
    ) -> Result<(Facts, Option<Tenure>), Box<dyn std::error::Error + Send + Sync>> {
        self.begin()?;
        let facts = facts::read(&self.shared.facts, service)?;
        let tenures = Tenures::open(&self.shared.runtime)?;
        Ok((facts, tenures.read(service)))
    }

    /// Has the thread take a service over. Of one that it has, the parts that a primary runs stay until it gives the role
    /// back.
    pub(crate) fn seat(&self, newcomer: Newcomer) {
        self.tell(Input::Seat(Box::new(newcomer)));
    }

    /// It is no longer assigned: whatever role it has is given back.
    pub(crate) fn unassign(&self, service: ServiceName) {
        self.tell(Input::Unassign(service));
    }

    /// A coordinator says something.
    pub(crate) fn word(&self, word: LeaseWord) {
        self.tell(Input::Word(word.service, word.event));
    }

    /// Another member asks this node not to become primary for so long (safety rule E2). What is promised binds already.
    ///
    /// # Errors
    /// Why it is not promised.
    pub(crate) async fn promise(
        &self,
        service: &ServiceName,
        from: Member,
        epoch: Epoch,
        life: Duration,
    ) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        self.tell(Input::Asked {
            service: service.clone(),
            from,
            epoch,
            life,
            answer,
        });
        let answered = answered.await;
        answered.unwrap_or_else(|_| Err("no role of it is kept on this node".to_owned()))
    }

    /// Another member has promised what it was asked for.
    pub(crate) fn promised(&self, service: &ServiceName, node: NodeName, ask: Duration) {
        let agrees = Event::PeerAgrees { node, ask };
        self.tell(Input::Word(service.clone(), agrees));
    }

    /// How the parts of an instance look that run on all of them.
    pub(crate) fn ready(&self, service: &ServiceName, readiness: Readiness) {
        self.tell(Input::Ready(service.clone(), readiness));
    }

    /// An attempt has the instance in hand until [`Roles::let_go`]: nobody claims its role here meanwhile.
    pub(crate) fn taken(&self, service: &ServiceName) {
        self.tell(Input::Taken(service.clone()));
    }

    /// The attempt has ended.
    pub(crate) fn let_go(&self, service: &ServiceName) {
        self.tell(Input::LetGo(service.clone()));
    }

    /// Has the role given back, in order, by the attempt that has the instance in hand.
    pub(crate) fn leave(&self, service: &ServiceName) {
        self.tell(Input::Leave(service.clone()));
    }

    /// Work has ended.
    pub(crate) fn done(&self, service: ServiceName, turn: u64, outcome: Outcome) {
        self.tell(Input::Done {
            service,
            turn,
            outcome,
        });
    }

    /// What makes a stop short is done, or cannot be.
    pub(crate) fn prepared(&self, service: ServiceName) {
        self.tell(Input::Prepared(service));
    }

    /// An attempt waits for it to become primary here, until what is returned is dropped: it is looked at more often.
    pub(crate) fn awaited(&self, service: &ServiceName) -> Awaited {
        self.tell(Input::Awaited(service.clone(), true));
        Awaited {
            roles: self.clone(),
            service: service.clone(),
        }
    }

    /// A part was started.
    pub(crate) fn grip(&self, service: &ServiceName, part: &Part, grip: Grip) {
        self.tell(Input::Grip(service.clone(), part.clone(), grip));
    }

    /// The primary parts were looked at.
    pub(crate) fn seen(&self, service: &ServiceName, sight: Sight) {
        self.tell(Input::Seen(service.clone(), sight));
    }

    /// Its server has died: what that has left is ended, if nothing was begun since that server was last seen.
    pub(crate) fn end_rest(&self, service: &ServiceName, rest: Rest) {
        self.tell(Input::Rest(service.clone(), rest));
    }

    /// How far its data went when it was stopped in order.
    pub(crate) fn ended(&self, service: &ServiceName, position: Option<u64>) {
        self.tell(Input::Ended(service.clone(), position));
    }

    /// What was stopped in order was never promoted in its epoch.
    pub(crate) fn unwritten(&self, service: &ServiceName) {
        self.tell(Input::Unwritten(service.clone()));
    }

    /// A part was seen to accept no writes any more, and runs on.
    pub(crate) fn demoted(&self, service: &ServiceName, part: &Part) {
        self.tell(Input::Demoted(service.clone(), part.clone()));
    }

    /// Its data are a beginning of what the primary of this epoch has.
    pub(crate) fn follows(&self, service: &ServiceName, epoch: Epoch) {
        self.tell(Input::Follows(service.clone(), epoch));
    }

    /// Its data are of another line than those of the primary that it was to follow: whatever it was seen to follow before.
    pub(crate) fn diverged(&self, service: &ServiceName) {
        self.tell(Input::Diverged(service.clone()));
    }

    /// It has lost this by following another one; it is told from now on.
    pub(crate) fn lost(&self, service: &ServiceName, loss: Loss) {
        self.tell(Input::Lost(service.clone(), loss));
    }

    /// Its primary wants to acknowledge writes without waiting for anybody: it may when its view names this request. What was
    /// seen of its writes before is dropped.
    pub(crate) fn degrade(&self, service: &ServiceName, asked: u64) {
        self.tell(Input::Degrade(service.clone(), asked));
    }

    /// A session with another coordinator stands.
    pub(crate) fn session(&self) {
        self.tell(Input::Session);
    }

    /// What waits to be said to this coordinator.
    pub(crate) fn mail(&self, coordinator: usize) -> Option<Arc<LeaseMail>> {
        self.shared.mails.get(coordinator).cloned()
    }

    /// How all roles look, and how they change.
    pub(crate) fn views(&self) -> watch::Receiver<Views> {
        self.shared.views.clone()
    }

    /// What is to be said of all roles to who sends clients, with every turn of the thread.
    pub(crate) fn signs(&self) -> watch::Receiver<Signs> {
        self.shared.signs.subscribe()
    }

    /// How the role of a service looks; none if it has none here.
    pub(crate) fn view(&self, service: &ServiceName) -> Option<View> {
        self.shared.views.borrow().get(service).cloned()
    }

    /// Waits until no role stands in the way of this agent's end (safety rule E12).
    pub(crate) async fn may_exit(&self) {
        let (answer, answered) = oneshot::channel();
        self.tell(Input::Exit(answer));
        // Without the thread nothing is held back.
        let _ = answered.await;
    }

    /// Has every role given back, in order, and waits until that is durable.
    pub(crate) async fn leave_all(&self) {
        self.tell(Input::LeaveAll);
        let mut views = self.views();
        // Without the thread there is nothing to wait for.
        let _ = views
            .wait_for(|views| views.values().all(View::is_standby))
            .await;
    }

    fn tell(&self, input: Input) {
        if self.shared.inputs.send(input).is_err() {
            tracing::error!("the thread that keeps the roles of this node has ended");
        }
    }
}

/// Somebody waits for a service to become primary here.
#[derive(Debug)]
pub(crate) struct Awaited {
    roles: Roles,
    service: ServiceName,
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let service = self.service.clone();
        self.roles.tell(Input::Awaited(service, false));
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map(drop).map_err(Error::Thread)
}
