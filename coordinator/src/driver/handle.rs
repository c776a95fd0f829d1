//! The way to the driver.

use std::fmt;
use std::time::Duration;

use interlock_engine::coordinator::FromAgent;
use interlock_mesh::reason::{Because as _, Reason};
use interlock_model::names::NodeName;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Desk, Refused};
use crate::leadership::Leading;
use crate::sessions::{Opening, Sessions};

/// Answers a call, once it is known whether what it changed is durable.
pub(super) type Reply = Box<dyn FnOnce(Result<(), NotDone>) + Send>;
type Call = Box<dyn FnOnce(&mut Desk) -> Reply + Send>;
/// Without a desk if nothing can become durable now.
type Look = Box<dyn FnOnce(Option<&Desk>) -> Reply + Send>;

/// How long a look waits for what it saw to become durable. A store that takes longer has a problem, and nobody shall
/// wait for that in order to be told how things stand.
const SOON: Duration = Duration::from_secs(2);

/// What reaches the driver.
pub(super) enum Input {
    Opened(Opening),
    Agent {
        node: NodeName,
        opened: u64,
        message: FromAgent,
    },
    Closed {
        node: NodeName,
        opened: u64,
    },
    /// To be told to an agent, whatever the store does. Answers whether the agent is there.
    ServeLogs {
        node: NodeName,
        call: u64,
        told: oneshot::Sender<bool>,
    },
    /// What an agent says of its share for logs; nothing: it is well.
    LogShare {
        node: NodeName,
        opened: u64,
        trouble: String,
    },
    Call(Call),
    Look(Look),
}

/// Why a call changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// The driver has ended: this process is about to.
    #[error("this coordinator is stopping; try again")]
    Gone,
    /// The store does not take what it changed.
    #[error(transparent)]
    Refused(Refused),
    /// The store takes no writes, so nothing was begun.
    #[error("nothing was begun: the coordinator's store takes no writes. {0}")]
    Stuck(String),
    /// It is decided, and waits for the store.
    #[error(
        "it is not done yet: the coordinator's store takes no writes. {0}. It is done as soon as the store takes writes again, \
         unless the coordinator is restarted before: look then, before you ask for it once more"
    )]
    Waits(String),
    /// It was decided on top of something that the store did not take.
    #[error("this coordinator had to take back what it has just decided; try again")]
    TakenBack,
}

impl From<NotDone> for tonic::Status {
    fn from(why: NotDone) -> Self {
        match why {
            NotDone::Gone | NotDone::TakenBack => Self::unavailable(why.to_string()),
            NotDone::Refused(_) => Self::invalid_argument(why.to_string()),
            NotDone::Stuck(_) | NotDone::Waits(_) => {
                Self::unavailable(why.to_string()).because(Reason::StoreStuck)
            }
        }
    }
}

/// A cheap handle to the driver.
#[derive(Clone)]
pub struct Handle {
    inbox: mpsc::Sender<Input>,
    changes: watch::Receiver<u64>,
    leading: watch::Receiver<Leading>,
    trouble: watch::Receiver<Option<String>>,
    sessions: Sessions,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    pub(super) fn new(
        inbox: mpsc::Sender<Input>,
        changes: watch::Receiver<u64>,
        leading: watch::Receiver<Leading>,
        trouble: watch::Receiver<Option<String>>,
        sessions: Sessions,
    ) -> Self {
        Self {
            inbox,
            changes,
            leading,
            trouble,
            sessions,
        }
    }

    /// The leadership of this process as it is now: its term may be raised.
    pub(crate) fn leading(&self) -> Leading {
        self.leading.borrow().clone()
    }

    /// Why the store takes no writes, as it becomes known.
    #[cfg(test)]
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.clone()
    }

    /// Who is connected.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Works on the desk, and answers when everything that this changed is durable.
    ///
    /// # Errors
    /// If the driver has ended, or the store does not take what was changed; then nothing was.
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Desk) -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let (answer, answered) = oneshot::channel();
        let call: Call = Box::new(move |desk| {
            let result = work(desk);
            // Nobody waits any more: the caller went away, which changes nothing.
            Box::new(move |kept| drop(answer.send(kept.map(|()| result))))
        });
        self.inbox
            .send(Input::Call(call))
            .await
            .map_err(|_| NotDone::Gone)?;
        answered.await.unwrap_or(Err(NotDone::Gone))
    }

    /// That what is asked for now can become durable, and reach agents.
    ///
    /// # Errors
    /// Why not, if the store takes no writes.
    pub(crate) fn can_write(&self) -> Result<(), NotDone> {
        let trouble = self.trouble.borrow().clone();
        trouble.map_or(Ok(()), |why| Err(NotDone::Stuck(why)))
    }

    /// The same as [`call`](Self::call) for somebody who waits at a screen: of a store that takes no writes they are told,
    /// although what was decided waits for it.
    ///
    /// # Errors
    /// As there, and if the store takes no writes.
    pub async fn call_soon<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Desk) -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let mut trouble = self.trouble.clone();
        let stuck = async {
            tokio::time::sleep(SOON).await;
            let known = trouble.wait_for(Option::is_some).await;
            let why = known.ok().and_then(|why| why.clone());
            match why {
                Some(why) => why,
                // The driver has ended, as the call will say.
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = self.call(work) => done,
            why = stuck => Err(NotDone::Waits(why)),
        }
    }

    /// Begins something new: not at all while the store takes no writes.
    ///
    /// # Errors
    /// As [`call_soon`](Self::call_soon).
    pub async fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Desk) -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        self.can_write()?;
        self.call_soon(work).await
    }

    /// Looks at the desk, and answers when everything that was seen there is durable: what a crash could take back is
    /// not told. None if the store takes no writes; then what is durable is in the store alone.
    ///
    /// # Errors
    /// If the driver has ended.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Desk) -> T + Send + 'static,
    ) -> Result<Option<T>, NotDone> {
        let (answer, answered) = oneshot::channel();
        let look: Look = Box::new(move |desk| {
            let result = desk.map(look);
            Box::new(move |kept| drop(answer.send(kept.map(|()| result))))
        });
        self.inbox
            .send(Input::Look(look))
            .await
            .map_err(|_| NotDone::Gone)?;
        match tokio::time::timeout(SOON, answered).await {
            Ok(result) => result.unwrap_or(Err(NotDone::Gone)),
            Err(_) => Ok(None),
        }
    }

    /// Completes whenever something has changed since it was last looked at.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// A session begins.
    pub(crate) async fn opened(&self, opening: Opening) -> Result<(), NotDone> {
        self.inbox
            .send(Input::Opened(opening))
            .await
            .map_err(|_| NotDone::Gone)
    }

    /// An agent said something.
    pub(crate) async fn agent(
        &self,
        node: NodeName,
        opened: u64,
        message: FromAgent,
    ) -> Result<(), NotDone> {
        self.inbox
            .send(Input::Agent {
                node,
                opened,
                message,
            })
            .await
            .map_err(|_| NotDone::Gone)
    }

    /// Tells the agent of a node that somebody wants to read its logs. False if it is not connected.
    ///
    /// # Errors
    /// If the driver has ended.
    pub(crate) async fn serve_logs(&self, node: NodeName, call: u64) -> Result<bool, NotDone> {
        let (told, answered) = oneshot::channel();
        self.inbox
            .send(Input::ServeLogs { node, call, told })
            .await
            .map_err(|_| NotDone::Gone)?;
        answered.await.map_err(|_| NotDone::Gone)
    }

    /// An agent said how it stands with its share for logs.
    pub(crate) async fn log_share(
        &self,
        node: NodeName,
        opened: u64,
        trouble: String,
    ) -> Result<(), NotDone> {
        let said = Input::LogShare {
            node,
            opened,
            trouble,
        };
        self.inbox.send(said).await.map_err(|_| NotDone::Gone)
    }

    /// A session is over.
    pub(crate) async fn closed(&self, node: NodeName, opened: u64) -> Result<(), NotDone> {
        self.inbox
            .send(Input::Closed { node, opened })
            .await
            .map_err(|_| NotDone::Gone)
    }
}
