//! Nodes: what is really so.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_engine::lease::Clock;
use interlock_engine::lease::holder::{Facts, Found, Holder, Tenure};
use interlock_model::ids::BootId;
use interlock_model::lease::Holder as Member;
use interlock_model::names::NodeName;

use super::rows::Log;

/// The name of a node.
pub(super) fn name(node: usize) -> NodeName {
    const NAMES: [&str; super::setup::NODES] = ["n0", "n1", "n2"];
    // The names are constants of the grammar.
    NAMES[node].parse().expect("a node's name is a name")
}

/// Its number.
pub(super) fn number(name: &NodeName) -> usize {
    name.as_str()[1..].parse().unwrap_or(0)
}

/// Two clocks of one machine that err in rate, and stand still while it is paused.
#[derive(Debug, Clone)]
pub(super) struct Clocks {
    begun: Duration,
    stood: Duration,
    slew: i64,
    raw: i64,
}

impl Clocks {
    pub(super) fn new(begun: Duration, slew: i64, raw: i64) -> Self {
        Self {
            begun,
            stood: Duration::ZERO,
            slew,
            raw,
        }
    }

    pub(super) fn read(&self, real: Duration) -> Clock {
        let gone = real.saturating_sub(self.begun + self.stood);
        Clock {
            boottime: rated(gone, self.slew),
            raw: rated(gone, self.raw),
        }
    }

    /// In what real time the slewed clock, by which agents wake, shows this much.
    pub(super) fn agent_timer(&self, shown: Duration) -> Duration {
        unrated(shown, self.slew)
    }

    /// The same of the kernel's timers.
    pub(super) fn kernel_timer(&self, shown: Duration) -> Duration {
        unrated(shown, self.raw)
    }

    /// A new boot: both begin at zero.
    pub(super) fn begin(&mut self, real: Duration) {
        self.begun = real;
        self.stood = Duration::ZERO;
    }

    /// When they began.
    pub(super) fn since(&self) -> Duration {
        self.begun
    }

    pub(super) fn stand(&mut self, for_: Duration) {
        self.stood += for_;
    }
}

const MILLION: i128 = 1_000_000;

fn rated(duration: Duration, ppm: i64) -> Duration {
    scale(duration, MILLION + i128::from(ppm), MILLION)
}

fn unrated(duration: Duration, ppm: i64) -> Duration {
    scale(duration, MILLION, MILLION + i128::from(ppm))
}

fn scale(duration: Duration, times: i128, over: i128) -> Duration {
    let nanos = i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX) * times / over;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Stopped,
    Standby,
    Promoting,
    Primary,
}

/// The database of one node.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) state: State,
    /// A backend that outlived its main process, and writes on.
    pub(super) orphan: bool,
    /// In an uninterruptible sleep: SIGKILL does not reach it.
    pub(super) stuck: bool,
    pub(super) blocked: bool,
    pub(super) log: Log,
    /// Rows of its own that the others never got are in it, and nobody knows.
    pub(super) tainted: bool,
    pub(super) promotion: u64,
    /// Whom a row waits for.
    pub(super) waits_for: Option<BTreeSet<usize>>,
    /// Since when somebody it waits for does not answer.
    pub(super) waiting: Option<Duration>,
    /// Counts what managers began, so that an end of something older is told apart.
    pub(super) work: u64,
}

/// What a node's disk holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    pub(super) facts: Facts,
    pub(super) log: Log,
}

/// An agent process.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) holder: Holder,
    /// Stopped until then.
    pub(super) frozen_until: Duration,
    /// The wake-up that counts.
    pub(super) wake: u64,
}

/// One node.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) on: bool,
    pub(super) boots: u64,
    /// Counts processes of the agent over all boots.
    pub(super) lives: u64,
    pub(super) clocks: Clocks,
    /// Paused by the hypervisor: since when, until when.
    pub(super) paused: Option<(Duration, Duration)>,
    pub(super) agent: Option<Agent>,
    pub(super) database: Database,
    /// Open for clients until then; the inner none is without end.
    pub(super) path: Option<Option<Duration>>,
    /// An armed watchdog: its time, and when it fires.
    pub(super) watchdog: Option<(Duration, Duration)>,
    pub(super) run: Option<Tenure>,
    pub(super) facts: Facts,
    pub(super) snapshot: Option<Disk>,
    /// Its disk went back behind what it had said, and no person has looked.
    pub(super) reverted: bool,
    /// Its replication stands still until then.
    pub(super) lagging_until: Duration,
    /// When the last write that was begun ends.
    pub(super) written_until: Duration,
    /// Its disk takes nothing until then.
    pub(super) stalled_until: Duration,
}

impl Machine {
    pub(super) fn new(clocks: Clocks) -> Self {
        Self {
            on: true,
            boots: 1,
            lives: 0,
            clocks,
            paused: None,
            agent: None,
            database: Database {
                state: State::Stopped,
                orphan: false,
                stuck: false,
                blocked: false,
                log: Log::default(),
                tainted: false,
                promotion: 0,
                waits_for: None,
                waiting: None,
                work: 0,
            },
            path: None,
            watchdog: None,
            run: None,
            facts: Facts::default(),
            snapshot: None,
            reverted: false,
            lagging_until: Duration::ZERO,
            written_until: Duration::ZERO,
            stalled_until: Duration::ZERO,
        }
    }

    pub(super) fn boot(&self) -> BootId {
        BootId(format!("boot-{}", self.boots))
    }

    pub(super) fn member(&self, node: usize) -> Member {
        Member {
            node: name(node),
            boot: self.boot(),
        }
    }

    pub(super) fn runs(&self) -> bool {
        self.on && self.paused.is_none()
    }

    /// Would it take a row at this moment? `by_path`: all clients come by the path that the kernel closes.
    pub(super) fn is_writable(&self, by_path: bool, now: Duration) -> bool {
        let database = &self.database;
        let accepts = database.state == State::Primary || database.orphan;
        let open = !by_path
            || matches!(self.path, Some(None))
            || matches!(self.path, Some(Some(until)) if until > now);
        self.runs() && accepts && !database.blocked && open
    }

    pub(super) fn found(&self) -> Found {
        match self.database.state {
            _ if self.database.orphan => Found::Primary,
            State::Stopped => Found::Nothing,
            State::Standby => Found::Standby,
            State::Promoting | State::Primary => Found::Primary,
        }
    }

    /// Everything that is not on a disk is gone.
    pub(super) fn lose_power(&mut self) {
        self.on = false;
        self.paused = None;
        self.agent = None;
        self.path = None;
        self.watchdog = None;
        self.run = None;
        let database = &mut self.database;
        database.state = State::Stopped;
        database.orphan = false;
        database.stuck = false;
        database.blocked = false;
        database.waits_for = None;
        database.waiting = None;
        database.work += 1;
    }

    pub(super) fn disk(&self) -> Disk {
        Disk {
            facts: self.facts.clone(),
            log: self.database.log.clone(),
        }
    }
}
