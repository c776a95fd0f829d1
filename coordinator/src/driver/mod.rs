//! The driver: the one task that owns the engine.
//!
//! Events come in through one bounded inbox: messages of agents, calls of services, the passing of time. Each batch of
//! them is put to the engine, which collects what it wants written and sent. One commit is under way at a time, and takes
//! everything that has come together by then (group commit); what was to be sent or answered after it is released when it
//! is durable, and not before (invariant I3). A store that cannot write, because its disk is full for example, stalls
//! the queue and nothing else: agents are still heard, questions are still answered, and nothing new begins. The same goes
//! for a term that has to be raised.

mod commit;
pub mod compaction;
#[cfg(test)]
mod compaction_tests;
mod desk;
mod handle;
mod known;
mod lineage;
mod load;
#[cfg(test)]
mod load_tests;
mod raising;
mod refused;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{Coordinator, FromAgent, Send, Write};
use interlock_model::ids::Term;
use interlock_model::names::NodeName;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tonic::Status;
use tracing::{error, info, warn};

use crate::clock;
use crate::leadership::{self, Leadership, Leading};
use crate::sessions::{Opening, Sessions};
use crate::store::Store;

pub use desk::{CachedPlan, Desk};
pub use handle::{Handle, NotDone};
pub use known::Known;
pub use lineage::Lineage;
pub(crate) use lineage::{clear_broken_import, highest_term, import_marks, is_portable};
pub use load::{LoadError, load, read_json};
pub use refused::Refused;

use commit::{After, Committer, Pending, Taken};
use handle::Input;
use raising::Raising;
use refused::NotKept;

/// How often time passes for the engine. Deadlines are seconds; a tick costs a scan of what is under way.
const TICK: Duration = Duration::from_millis(100);

/// How many events may wait. Agents are held back beyond it, by their own streams.
const INBOX: usize = 4096;

/// Why the driver ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// Another coordinator leads, or this process lost the store's guard.
    #[error("this coordinator no longer leads; another process took over its store")]
    NotLeading,
    /// The engine made a key that no store takes.
    #[error("a record has a key that cannot be stored")]
    Key(#[source] crate::store::InvalidKey),
    /// The store cannot be used any more.
    #[error("the store failed for good")]
    Store(#[source] crate::store::Error),
    /// It takes nothing that it is given.
    #[error("the store refuses whatever it is given, last of all this")]
    Refused(#[source] Refused),
    /// What it holds cannot be taken up again.
    #[error("what the store holds cannot be taken up")]
    Load(#[source] Box<LoadError>),
    /// A journal does not belong to its plan.
    #[error("what the store holds contradicts itself")]
    Corrupt(#[source] interlock_engine::operation::Corrupt),
}

/// The task that owns the engine.
#[derive(Debug)]
pub struct Driver {
    desk: Desk,
    inbox: mpsc::Receiver<Input>,
    sessions: Sessions,
    committer: Committer,
    leadership: Arc<dyn Leadership>,
    leading: Leading,
    /// The same, for those that decide beside this task.
    leads: watch::Sender<Leading>,
    raising: Raising,
    /// The agents that have heard a term from this process.
    welcomed: BTreeSet<NodeName>,
    /// The engine has given memories up: that is committed before anything else.
    gives_up: bool,
    queue: VecDeque<Pending>,
    /// How often the store has refused what it was given since it last took something.
    refused_in_a_row: u32,
    changed: watch::Sender<u64>,
}

impl Driver {
    /// A driver and the handle to it.
    #[must_use]
    pub fn new(
        name: String,
        coordinator: Coordinator,
        store: Arc<dyn Store>,
        leadership: Arc<dyn Leadership>,
        leading: Leading,
    ) -> (Self, Handle) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let (changed, changes) = watch::channel(0);
        let (leads, led) = watch::channel(leading.clone());
        let sessions = Sessions::default();
        let incarnation = store.incarnation().to_string();
        let committer = Committer::new(store, leading.guard());
        let trouble = committer.trouble().watch();
        let driver = Self {
            desk: Desk::new(name, incarnation, coordinator, trouble.clone()),
            inbox,
            sessions: sessions.clone(),
            committer,
            leadership,
            leading,
            leads,
            raising: Raising::default(),
            welcomed: BTreeSet::new(),
            gives_up: false,
            queue: VecDeque::new(),
            refused_in_a_row: 0,
            changed,
        };
        (driver, Handle::new(sender, changes, led, trouble, sessions))
    }

    /// Runs until leadership or store is lost, or every handle is gone.
    ///
    /// # Errors
    /// See [`Ended`].
    pub async fn run(mut self) -> Result<(), Ended> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(256);
        loop {
            tokio::select! {
                biased;
                done = self.committer.done(), if self.committer.is_busy() => self.committed(done).await?,
                raised = self.raising.done(), if self.raising.is_under_way() => self.raised(raised)?,
                received = self.inbox.recv_many(&mut batch, 1024) => {
                    if received == 0 {
                        return Ok(());
                    }
                    for input in batch.drain(..) {
                        self.handle(input);
                    }
                    self.desk.coordinator.advance(clock::now());
                }
                _ = tick.tick() => {
                    let now = clock::now();
                    self.desk.coordinator.held_up(self.committer.is_stuck(), now);
                    self.committer.tell_of_silence();
                    self.raising.tell_of_silence(self.committer.trouble());
                    self.desk.coordinator.tick(now);
                }
            }
            // While a commit is under way the engine keeps what it wants: everything that comes together until the next
            // one is one batch of each journal there, instead of one for every message.
            if self.committer.is_busy() {
                continue;
            }
            let gives_up = std::mem::take(&mut self.gives_up);
            if self.raising.is_wished() && !gives_up {
                let trouble = self.committer.trouble();
                self.raising.begin(&self.leadership, &self.leading, trouble);
                continue;
            }
            self.collect(None);
            self.commit_next().await?;
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Opened(opening) => {
                let now = clock::now();
                let Opening { node, hello, .. } = &opening;
                if let Some(stranger) = self.desk.lineage.stranger(&hello.incarnation) {
                    let why = stranger.to_string();
                    if self.desk.coordinator.turn_away(node, &why, now) {
                        warn!(%node, reason = %stranger, "sessions refused");
                    }
                    opening.outbox.refuse(stranger.into());
                    return;
                }
                if let Err(absurd) = self.desk.coordinator.believe(node, hello, now) {
                    warn!(%node, reason = %absurd, "session refused");
                    opening
                        .outbox
                        .refuse(Status::failed_precondition(absurd.to_string()));
                    return;
                }
                let address = opening.address.to_string();
                let Opening { node, hello, .. } = &opening;
                let contended = self.desk.coordinator.contend(node, hello, &address, now);
                if let Err(contested) = contended {
                    if contested.is_news {
                        warn!(%node, reason = %contested, "sessions refused");
                    }
                    let status = Status::unavailable(contested.to_string());
                    self.sessions.end(node, status.clone());
                    opening.outbox.refuse(status);
                    return;
                }
                let seen = opening.hello.highest_term;
                if self.is_foreign(seen, &opening.node) {
                    let node = &opening.node;
                    warn!(%node, %seen, term = %self.leading.term(), "an agent remembers a later term than this store: raising the term");
                    let what = format!("term {seen}");
                    // Above the agent, a later process would not see any more that the store was behind. An import says
                    // itself what is to be raised, and is no older copy.
                    let known = self.raising.is_wished() || self.raising.is_under_way();
                    if !known && self.desk.coordinator.fell_behind(node, &what, now) {
                        self.gives_up = true;
                    } else {
                        self.raising.wish(seen);
                    }
                } else {
                    self.open(opening);
                }
            }
            Input::Agent {
                node,
                opened,
                message,
            } => {
                if self.sessions.is_current(&node, opened) {
                    self.desk.coordinator.agent(&node, message, clock::now());
                    // The engine took its machine for off and does not listen any more. One that goes on speaking was
                    // not: it says hello in another session.
                    if !self.desk.coordinator.view().connected(&node) {
                        self.sessions.close(&node, opened);
                    }
                }
            }
            Input::Closed { node, opened } => {
                if self.sessions.close(&node, opened) {
                    self.desk.coordinator.session_closed(&node);
                }
            }
            Input::ServeLogs { node, call, told } => {
                // Whoever asked may have gone.
                let _ = told.send(self.sessions.serve_logs(&node, call));
            }
            Input::LogShare {
                node,
                opened,
                trouble,
            } => {
                if self.sessions.is_current(&node, opened) {
                    self.desk.log_share(&node, trouble);
                }
            }
            Input::Call(call) => {
                // What came before is not what this call changed, and does not hold its answer back.
                self.collect(None);
                let reply = call(&mut self.desk);
                if let Some(seen) = self.desk.take_imported() {
                    // Agents say hello again, to the engine that now is.
                    self.sessions.end_all();
                    self.welcomed.clear();
                    self.raising.wish(seen);
                }
                self.collect(Some(After::Reply(reply)));
            }
            Input::Look(look) if self.committer.trouble().is_some() => look(None)(Ok(())),
            Input::Look(look) => {
                self.collect(None);
                let reply = look(Some(&self.desk));
                self.follow(Vec::new(), vec![After::Reply(reply)]);
            }
        }
    }

    fn open(&mut self, opening: Opening) {
        let Opening {
            node,
            number,
            outbox,
            hello,
            facts,
            certificate_ends,
            ..
        } = opening;
        info!(%node, "agent connected");
        outbox.welcome(
            &self.desk.name,
            self.leading.term(),
            &self.desk.incarnation,
            self.desk.heartbeat(),
        );
        self.welcomed.insert(node.clone());
        self.sessions.open(&node, number, outbox);
        self.desk.connected(&node, facts, certificate_ends);
        self.desk
            .coordinator
            .agent(&node, FromAgent::Hello(hello), clock::now());
    }

    /// Does an agent remember a term that this process has not given it? The current one is no stranger to an agent that
    /// was welcomed by this process: it comes back after a restart or a broken connection.
    fn is_foreign(&self, highest: Term, node: &NodeName) -> bool {
        let own = self.leading.term();
        highest > own || highest == own && !self.welcomed.contains(node)
    }

    /// From now on under the raised term. What was decided before goes out under it as well: it is still the same
    /// process that decided.
    fn raised(&mut self, raised: Result<Leading, leadership::Error>) -> Result<(), Ended> {
        match raised {
            Ok(leading) => {
                info!(term = %leading.term(), "the term is raised");
                self.committer.guard(leading.guard());
                self.desk.coordinator.set_term(leading.term());
                self.leads.send_replace(leading.clone());
                self.leading = leading;
                Ok(())
            }
            // Only an import gets here, for what agents say is not believed that far. Nothing was written, and this
            // leadership is as good as before.
            Err(problem @ leadership::Error::NoTermLeft { .. }) => {
                error!(error = %chain(&problem), "the term is not raised");
                Ok(())
            }
            Err(problem) => {
                error!(error = %chain(&problem), "the term cannot be raised");
                Err(Ended::NotLeading)
            }
        }
    }

    /// Queues what the engine wants, in order; releases at once what nothing before it holds back.
    fn collect(&mut self, last: Option<After>) {
        let mut output = self.desk.coordinator.take_output();
        output.writes.extend(self.desk.take_writes());
        if !output.writes.is_empty() || !output.sends.is_empty() {
            self.changed.send_modify(|count| *count += 1);
        }
        let nothing_to_write = output.writes.is_empty();
        let mut after: Vec<After> = output.sends.into_iter().map(After::Send).collect();
        // A question that changed nothing is answered at once, whatever the store is doing.
        match last {
            Some(After::Reply(reply)) if nothing_to_write => reply(Ok(())),
            Some(last) => after.push(last),
            None => {}
        }
        self.follow(output.writes, after);
    }

    /// Queues writes and what follows them, behind everything that was decided before; what nothing holds back is
    /// released at once.
    fn follow(&mut self, writes: Vec<Write>, after: Vec<After>) {
        if writes.is_empty() && self.queue.is_empty() && !self.holds_back() {
            self.release(after);
        } else if !after.is_empty() || !writes.is_empty() {
            self.queue.push_back(Pending { writes, after });
        }
    }

    /// Is something under way that what is decided now has to wait for?
    fn holds_back(&self) -> bool {
        self.committer.is_busy() || self.raising.is_wished()
    }

    async fn commit_next(&mut self) -> Result<(), Ended> {
        while !self.holds_back() {
            match self.committer.take(&mut self.queue) {
                Taken::Nothing => break,
                Taken::Free(free) => self.release(free),
                Taken::Refused(refused, after) => self.start_over(refused, after).await?,
            }
        }
        Ok(())
    }

    async fn committed(
        &mut self,
        (kept, after): (Result<(), NotKept>, Vec<After>),
    ) -> Result<(), Ended> {
        match kept {
            Ok(()) => {
                self.refused_in_a_row = 0;
                self.release(after);
                Ok(())
            }
            Err(NotKept::Refused(refused)) => self.start_over(refused, after).await,
            Err(NotKept::Ended(ended)) => Err(ended),
        }
    }

    fn release(&mut self, after: Vec<After>) {
        for after in after {
            match after {
                After::Reply(reply) => reply(Ok(())),
                After::Send(Send { to, message }) => {
                    if let Some(closed) = self.sessions.send(&to, message, self.leading.term()) {
                        warn!(node = %to, reason = closed, "session ended by the coordinator");
                        self.desk.coordinator.session_closed(&to);
                    }
                }
            }
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
