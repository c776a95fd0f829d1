//! What the thread is told, and what it has the runtime do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::lease::holder::{Event, Facts, Found, Tenure};
use interlock_model::action::Part;
use interlock_model::lease::{Epoch, Holder};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::Loss;
use interlock_model::postgres::Peer;
use interlock_model::spec::{Clients, GuardPolicy};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::door::Door;
use super::ears::Received;
use crate::shim::{Grip, Left};

/// A leased service of this node, as far as its role goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leased {
    /// What only the primary has, or is another thing there, in starting order.
    pub(crate) parts: Arc<[Part]>,
    /// Where the other instances are.
    pub(crate) peers: Arc<[Peer]>,
    /// How those who write reach the primary.
    pub(crate) clients: Clients,
    /// How often its primary parts are restarted here before the role is given back.
    pub(crate) guard: GuardPolicy,
    /// Does anything of it run on every instance, also of a standby?
    pub(crate) everywhere: bool,
}

impl Leased {
    /// May this part be started again as the primary's? Not what has its data in memory: when it is down they are gone, and a
    /// standby has more than its disk (safety rule D2). Of what an agent promotes nobody here knows.
    pub(super) fn is_restarted(part: &Part) -> bool {
        part.redis().is_none() && part.promotable().is_none()
    }

    /// Does the instance keep data of its own, which a standby has to have?
    pub(crate) fn has_data(&self) -> bool {
        self.parts.iter().any(Part::is_server)
    }
}

/// A leased service that the thread takes over, as it was found before anything was touched.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) service: ServiceName,
    pub(crate) leased: Leased,
    pub(crate) found: Found,
    pub(crate) door: Door,
    pub(crate) grips: Vec<(Part, Grip)>,
    pub(crate) facts: Facts,
    pub(crate) kept: Option<Tenure>,
}

/// How a primary part looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It runs, or is there.
    Up,
    /// It is down, and why.
    Down(String),
    /// It runs as what it is on every other instance, and accepts no writes.
    Standby,
    /// Nobody can tell.
    Unknown(String),
}

/// A look at all primary parts.
#[derive(Debug)]
pub(crate) struct Sight {
    /// The turn of the seat when the look began.
    pub(crate) turn: u64,
    pub(crate) parts: Vec<(Part, Condition)>,
    /// Something may be there of a part that is down.
    pub(crate) remains: bool,
    pub(crate) grips: Vec<(Part, Grip)>,
    /// What was seen of its data; none if it has none.
    pub(crate) data: Option<DataSight>,
    /// Why nobody would reach an address of the role here; none if they would, or nobody can tell.
    pub(crate) unlinked: Option<String>,
    /// What the interfaces of the role's addresses have received.
    pub(crate) received: Received,
}

/// What a dead server has left.
#[derive(Debug)]
pub(crate) struct Rest {
    /// The turn of the seat in which the server was last seen.
    pub(crate) turn: u64,
    pub(crate) part: Part,
    pub(crate) grip: Grip,
}

impl Rest {
    /// Ends it, if there is any. A system call: it waits for nothing.
    pub(crate) fn end(&self) {
        if matches!(self.grip.left(), Ok(Left::Nothing | Left::NothingFound)) {
            return;
        }
        let ended = self.grip.kill();
        tracing::warn!(part = %self.part, "it has died; what it has left is ended");
        if let Err(error) = ended {
            tracing::error!(part = %self.part, %error, "what it has left is not ended");
        }
    }
}

/// Whom all writes wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waited {
    /// Those.
    pub(crate) nodes: BTreeSet<NodeName>,
    /// How far they have said to have it on disk, at the end of something whole; none if nobody can tell. Who has less is not whom
    /// was waited for: its disk is an older one.
    pub(crate) known: Option<u64>,
}

/// A look at the data of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DataSight {
    /// How far they go; none if nobody can tell.
    pub(crate) position: Option<u64>,
    /// Whom writes wait for, if they are all known to wait for them.
    pub(crate) synchronous: Option<Waited>,
    /// How they follow those of somebody else.
    pub(crate) following: Option<Following>,
    /// How good it would be to promote them here, by an OCF agent; none if none has said.
    pub(crate) score: Option<i64>,
    /// That in words.
    pub(crate) text: String,
}

/// How data follow those of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Following {
    /// Do they come as they are written there?
    pub(crate) streaming: bool,
    /// How far what is on disk here is behind, in the unit of positions; none if nobody can tell.
    pub(crate) behind: Option<u64>,
    /// The same of what readers see.
    pub(crate) applied_behind: Option<u64>,
}

/// How an instance looks to who would promote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// Why it could not be promoted; none if it could.
    pub(crate) unready: Option<String>,
    /// Which of the parts that run on every instance is down: a primary does not go on without it.
    pub(crate) down: Option<String>,
}

/// What the runtime does for a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Starts the primary parts that do not run, downwards.
    Start,
    /// Stops them, upwards.
    Stop,
    /// After a forced stop: has managers say that all of it is down, and end what only they can end.
    Finish,
}

/// Work for the runtime, answered with [`Input::Done`] however it ends.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) service: ServiceName,
    /// Which turn of the seat it is.
    pub(crate) turn: u64,
    pub(crate) task: Task,
    pub(crate) parts: Arc<[Part]>,
    pub(crate) peers: Arc<[Peer]>,
    pub(crate) door: Door,
    /// Was it primary in this epoch before? Then what the record says of its writes still binds.
    pub(crate) again: bool,
    /// Cancelled when it is to end at once.
    pub(crate) halt: CancellationToken,
}

/// What the runtime is given to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Answered with [`Input::Done`].
    Work(Work),
    /// Makes a stop short that is to come, of a primary that goes on meanwhile. Answered with [`Input::Prepared`].
    Prepare(ServiceName, Arc<[Part]>),
}

/// How work ended: with evidence, or with why it is not done.
pub(crate) type Outcome = Result<String, String>;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Input {
    /// Take this service over; or, where it has a seat, its parts or its policy are others.
    Seat(Box<Newcomer>),
    /// It is no longer assigned.
    Unassign(ServiceName),
    /// For its machine, from a coordinator.
    Word(ServiceName, Event),
    /// A batch of facts is durable.
    Committed { service: ServiceName, batch: u64 },
    /// How the parts look that run on every instance.
    Ready(ServiceName, Readiness),
    /// Another member asks for a promise (safety rule E2); answered at once, with why there is none.
    Asked {
        service: ServiceName,
        from: Holder,
        epoch: Epoch,
        life: Duration,
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// An attempt has taken the instance in hand.
    Taken(ServiceName),
    /// It has let go.
    LetGo(ServiceName),
    /// The role is to be given back, and not taken up before the attempt has let go.
    Leave(ServiceName),
    /// Work has ended.
    Done {
        service: ServiceName,
        turn: u64,
        outcome: Outcome,
    },
    /// What makes its stop short is done, or cannot be.
    Prepared(ServiceName),
    /// An attempt waits for it to become primary, or does no more.
    Awaited(ServiceName, bool),
    /// A part was started.
    Grip(ServiceName, Part, Grip),
    /// The primary parts were looked at.
    Seen(ServiceName, Sight),
    /// Its server has died, and this is left of it.
    Rest(ServiceName, Rest),
    /// How far the data of the instance went when it was stopped in order; told before the end of that work.
    Ended(ServiceName, Option<u64>),
    /// What was stopped has not accepted a write in its epoch; told before the end of that work.
    Unwritten(ServiceName),
    /// This part was seen to accept no writes any more, though it runs on: it is not ended. Told before the end of that work.
    Demoted(ServiceName, Part),
    /// Its data follow the primary of this epoch.
    Follows(ServiceName, Epoch),
    /// Its data are of another line than those of the primary that it was to follow.
    Diverged(ServiceName),
    /// It has lost this by following another one.
    Lost(ServiceName, Loss),
    /// Its primary wants to acknowledge without waiting for anybody, by this request.
    Degrade(ServiceName, u64),
    /// A session with another coordinator stands.
    Session,
    /// The agent is to end; answered when no role stands in the way.
    Exit(oneshot::Sender<()>),
    /// The machine goes down: every role is given back, and none is taken up any more.
    LeaveAll,
}
