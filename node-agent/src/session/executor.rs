//! The seam between what an agent is told and what it does.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::agent::Peer;
use interlock_engine::agent::ledger::{Outcome, Permit};
use interlock_mesh::channel::Target;
use interlock_model::action::{Command, FenceCall, Power};
use interlock_model::check::{CheckId, CheckKind};
use interlock_model::file::{Compared, Text, Untold};
use interlock_model::ids::AttemptId;
use interlock_model::names::{LocalName, ServiceName};
use interlock_proto::v1;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::open::Happened;
use super::{Assignment, LeaseMail, LeaseWord};

/// What an agent does on its machine. One value serves all attempts at once.
pub trait Executor: Send + Sync + 'static {
    /// Carries an attempt out: make sure, act, prove. Returns when the outcome is known or can no longer be known, and
    /// when the attempt [is halted](Attempt::halted), as soon as nothing of it is left.
    fn execute(&self, attempt: Attempt) -> impl Future<Output = Outcome> + Send;

    /// Finds out what became of an attempt that an earlier process of this agent began. What still runs is waited for.
    fn recover(&self, attempt: Attempt) -> impl Future<Output = Outcome> + Send {
        let evidence = format!("{} was open when the agent was restarted", attempt.id);
        async move {
            Outcome::Unknown {
                evidence,
                repeatable: false,
            }
        }
    }

    /// What the agent's own file says to a command.
    fn permit(&self, _: &Command) -> Permit {
        Permit::Granted
    }

    /// What the agent's own file says to a check of its assignment.
    fn permit_check(&self, _: &CheckKind) -> Permit {
        Permit::Granted
    }

    /// An attempt was accepted and is about to be carried out; what is *wanted* may have changed.
    fn taken(&self, _: &Command) {}

    /// The outcome of an attempt is durable: what would be needed to find it out again may go.
    fn settled(&self, _: &AttemptId) {}

    /// What to observe and to guard from now on.
    fn assigned(&self, _: &Assignment) {}

    /// These checks are to be run at once.
    fn probe_now(&self, _: Vec<CheckId>) {}

    /// Asks a power source; an error or a time-out is *unknown*, with the reason.
    fn ask_power(&self, _: FenceCall) -> impl Future<Output = (Power, String)> + Send {
        async { (Power::Unknown, "this agent asks no power source".to_owned()) }
    }

    /// Switches a machine off, and says what its power source confirms.
    fn switch_off(&self, _: FenceCall) -> impl Future<Output = (Power, String)> + Send {
        async { (Power::Unknown, "this agent asks no power source".to_owned()) }
    }

    /// Asks a power device for its plugs.
    fn list_plugs(&self, _: FenceCall) -> impl Future<Output = v1::plug_list::List> + Send {
        async { v1::plug_list::List::Failed("this agent asks no power source".to_owned()) }
    }

    /// How a file of a service compares with what a text would make of it; why that cannot be told, if so.
    fn compare_file(
        &self,
        _: ServiceName,
        _: LocalName,
        _: Text,
    ) -> impl Future<Output = Result<Compared, Untold>> + Send {
        async { Err(Untold::Unknown("this agent writes no files".to_owned())) }
    }

    /// What is wrong with the share that this node brings its logs to; none if it brings them nowhere.
    fn log_share(&self) -> Option<watch::Receiver<Option<String>>> {
        None
    }

    /// What is to be said of leases to this coordinator; none if this agent keeps no leases.
    fn lease_mail(&self, _: Peer) -> Option<Arc<LeaseMail>> {
        None
    }

    /// A session with this coordinator stands: it knows nothing of any lease yet. Returns at once.
    fn lease_session(&self, _: Peer) {}

    /// A coordinator says something of a lease. Returns at once.
    fn lease_word(&self, _: Peer, _: LeaseWord) {}

    /// Somebody wants to read logs through this coordinator, in the call of this number. Returns at once.
    fn serve_logs(&self, _: &Target, _: u64) {}

    /// The OCF resource agents of the machine; none if nobody looks.
    fn resource_agents(&self) -> impl Future<Output = Option<v1::OcfAgents>> + Send {
        async { None }
    }

    /// The facts that a hello tells.
    fn facts(&self) -> impl Future<Output = v1::Facts> + Send {
        async { v1::Facts::default() }
    }
}

/// Why an attempt is to end now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// A coordinator cancelled it.
    Cancelled,
    /// Its time limit has passed.
    TimeLimit,
    /// It is not an attempt's but the guard's, and an attempt has taken the instance.
    HandedOver,
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled",
            Self::TimeLimit => "its time limit has passed",
            Self::HandedOver => "an attempt has taken the instance",
        })
    }
}

/// An open attempt, as its executor holds it.
#[derive(Debug)]
pub struct Attempt {
    /// Which one.
    pub id: AttemptId,
    /// What to do.
    pub command: Command,
    /// When it was accepted, on the clock of [`Clock::mono`](super::Clock::mono) in the boot in which it was.
    pub accepted: Duration,
    /// Was it accepted in an earlier boot of this machine?
    pub earlier_boot: bool,
    /// When its time limit passes.
    pub deadline: Instant,
    pub(super) cancelled: watch::Receiver<bool>,
    pub(super) happened: mpsc::UnboundedSender<Box<Happened>>,
}

impl Attempt {
    /// The way down is confirmed: the stop job runs, the signal is sent. Tell it once.
    pub fn going_down(&self, evidence: impl Into<String>) {
        // Without a desk nobody is left to be told.
        let _ = self.happened.send(Box::new(Happened::GoingDown {
            id: self.id.clone(),
            evidence: evidence.into(),
        }));
    }

    /// Waits until the attempt is to end, by its deadline or by a coordinator.
    pub async fn halted(&self) -> Halt {
        let mut cancelled = self.cancelled.clone();
        let cancel = async {
            // The sender is dropped with the desk, which cancels nothing (invariant I6).
            if cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = cancel => Halt::Cancelled,
            () = tokio::time::sleep_until(self.deadline) => Halt::TimeLimit,
        }
    }

    /// The time that is left.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}
