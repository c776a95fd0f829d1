//! Whose turn it is with a resource, and what is remembered of it between actions.

use std::sync::{Mutex, MutexGuard, PoisonError};

use interlock_model::ocf::Resource;
use tokio::sync::watch;

use super::notebook::{Memory, Notebook};
use super::{Circle, Code, Verb};

/// One resource.
#[derive(Debug)]
pub(crate) struct Slot {
    resource: Resource,
    notebook: Notebook,
    /// Held by whoever runs an action of it.
    turn: tokio::sync::Mutex<()>,
    /// Held by whoever tells its agent of others: beside a `monitor`, and beside no action.
    telling: tokio::sync::Mutex<()>,
    /// The action that a `monitor` must make way for.
    acting: watch::Sender<Option<Verb>>,
    memory: Mutex<Memory>,
    /// What its last `monitor` said.
    last: Mutex<Option<Code>>,
    circle: Mutex<Circle>,
}

/// The right to run `start` and `stop` of a resource. Whoever monitors it has made way.
#[derive(Debug)]
pub(crate) struct Acting<'s> {
    announced: Announced<'s>,
    _turn: tokio::sync::MutexGuard<'s, ()>,
    _telling: tokio::sync::MutexGuard<'s, ()>,
}

/// What is announced to whoever monitors, for as long as this lives.
#[derive(Debug)]
struct Announced<'s>(&'s Slot);

impl Slot {
    /// Of a resource of which an earlier agent may have written something down.
    pub(super) fn new(resource: &Resource, notebook: &Notebook) -> Self {
        Self {
            resource: resource.clone(),
            notebook: notebook.clone(),
            turn: tokio::sync::Mutex::default(),
            telling: tokio::sync::Mutex::default(),
            acting: watch::Sender::default(),
            memory: Mutex::new(notebook.of(resource)),
            last: Mutex::default(),
            circle: Mutex::default(),
        }
    }

    /// What its last `monitor` said; none if it has not said anything.
    pub(crate) fn last(&self) -> Option<Code> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its `monitor` has said this.
    pub(super) fn said(&self, code: Option<Code>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = code;
    }

    /// Whose instances there are of it.
    pub(crate) fn circle(&self) -> Circle {
        let circle = self.circle.lock();
        circle.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// These are there of it from now on.
    pub(crate) fn set_circle(&self, circle: Circle) {
        *self.circle.lock().unwrap_or_else(PoisonError::into_inner) = circle;
    }

    /// Waits for the turn to act. Two never act on one resource: whoever does has its instance in hand.
    pub(crate) async fn act(&self, verb: Verb) -> Acting<'_> {
        self.acting.send_replace(Some(verb));
        let announced = Announced(self);
        Acting {
            _turn: self.turn.lock().await,
            _telling: self.telling.lock().await,
            announced,
        }
    }

    /// Waits for the turn to monitor.
    ///
    /// # Errors
    /// The action that is under way instead.
    pub(crate) async fn monitor(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Verb> {
        tokio::select! {
            biased;
            verb = self.acted() => Err(verb),
            turn = self.turn.lock() => Ok(turn),
        }
    }

    /// Waits for the turn to tell its agent of others. A `monitor` goes on: who is to act looks first.
    ///
    /// # Errors
    /// The action that is under way instead.
    pub(super) async fn tell(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Verb> {
        tokio::select! {
            biased;
            verb = self.acted() => Err(verb),
            telling = self.telling.lock() => Ok(telling),
        }
    }

    /// Resolves when a monitor, or who tells, has to make way.
    pub(super) async fn acted(&self) -> Verb {
        let mut acting = self.acting.subscribe();
        loop {
            if let Some(verb) = *acting.borrow_and_update() {
                return verb;
            }
            // Its sender is this slot, which lives as long as who waits here.
            if acting.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// It was seen running.
    pub(super) async fn is_up_now(&self) {
        let doubt = self.doubt();
        self.remember(Memory { up: true, doubt }).await;
    }

    /// Remembers it, durably if it is news. Whoever calls this has the turn.
    async fn remember(&self, memory: Memory) {
        let is_news = std::mem::replace(&mut *self.memory(), memory.clone()) != memory;
        if is_news {
            self.notebook.remember(&self.resource, memory).await;
        }
    }

    /// Was it seen running since it was last stopped?
    pub(super) fn was_up(&self) -> bool {
        self.memory().up
    }

    /// Why it cannot be taken for stopped.
    pub(super) fn doubt(&self) -> Option<String> {
        self.memory().doubt.clone()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Every change is complete before anything can panic.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Acting<'_> {
    /// An action has succeeded.
    pub(crate) async fn succeeded(&self, verb: Verb) {
        let memory = match verb {
            Verb::Start | Verb::Stop => Memory {
                up: verb == Verb::Start,
                doubt: None,
            },
            // What it has become is not what is remembered.
            Verb::Promote | Verb::Demote => return,
        };
        self.announced.0.remember(memory).await;
    }

    /// An action has not succeeded, or nobody knows. What was started in vain may be there in part; what was not stopped
    /// is there until a later action says otherwise.
    pub(crate) async fn failed(&self, verb: Verb, why: &str) {
        let slot = self.announced.0;
        let doubt = match verb {
            Verb::Start => slot.doubt(),
            Verb::Stop => Some(why.to_owned()),
            Verb::Promote | Verb::Demote => return,
        };
        slot.remember(Memory { up: false, doubt }).await;
    }
}

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        self.0.acting.send_replace(None);
    }
}

#[cfg(test)]
mod tests {
    use interlock_model::ids::BootId;

    use super::*;

    fn slot() -> (tempfile::TempDir, Slot) {
        let dir = tempfile::tempdir().unwrap();
        let resource = Resource {
            agent: "heartbeat:Dummy".parse().unwrap(),
            name: "a".parse().unwrap(),
            parameters: std::collections::BTreeMap::new(),
            limits: Default::default(),
            promotable: false,
            every: None,
        };
        let notebook = Notebook::open(dir.path().join("ocf.json"), BootId::default());
        let slot = Slot::new(&resource, &notebook);
        (dir, slot)
    }

    #[tokio::test]
    async fn who_monitors_makes_way_for_who_acts_and_is_told_for_what() {
        let (_dir, slot) = slot();
        let turn = slot.monitor().await.unwrap();
        let act = slot.act(Verb::Stop);
        let monitor = async {
            assert_eq!(slot.acted().await, Verb::Stop);
            drop(turn);
        };
        let (acting, ()) = tokio::join!(act, monitor);
        assert_eq!(slot.monitor().await.err(), Some(Verb::Stop));
        drop(acting);
        assert!(slot.monitor().await.is_ok());
    }

    #[tokio::test]
    async fn a_stop_that_failed_is_in_doubt_until_an_action_succeeds() {
        let (_dir, slot) = slot();
        let acting = slot.act(Verb::Start).await;
        acting.succeeded(Verb::Start).await;
        assert!(slot.was_up() && slot.doubt().is_none());
        acting.failed(Verb::Stop, "why").await;
        assert_eq!(slot.doubt().as_deref(), Some("why"));
        acting.failed(Verb::Start, "another").await;
        assert_eq!(slot.doubt().as_deref(), Some("why"));
        acting.succeeded(Verb::Stop).await;
        assert!(!slot.was_up() && slot.doubt().is_none());
    }
}
