//! Being told at once when a unit changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc;

use super::link::{Link, Signal};
use super::{Error, Systemd, UnitState, check_name, load, observe_at};

/// Events that the reader may leave waiting. A full queue delays later events, it loses none.
const QUEUE: usize = 64;

/// The pauses between attempts to reach the bus again; the last one repeats. Local and cheap, so soon and without
/// jitter.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
];

/// How long the watch trusts signals alone. Every unit is looked at again after this, in case one was lost.
const RESYNC: Duration = Duration::from_secs(60);

/// The same while some unit could not be looked at.
const RESYNC_UNSURE: Duration = Duration::from_secs(5);

/// A unit was observed and is not as it was last reported.
#[derive(Debug)]
pub struct UnitEvent {
    /// The name under which it is watched.
    pub unit: String,
    /// What was seen, or why nothing can be seen: then the unit's state is unknown until the next event.
    pub state: Result<UnitState, Arc<Error>>,
}

/// Events of a set of units. Dropping it ends the watch.
#[derive(Debug)]
pub struct UnitWatch {
    events: mpsc::Receiver<UnitEvent>,
}

impl UnitWatch {
    /// The next event: first the state of each unit, then one for each change, and again all after the bus was away.
    /// Intermediate states of a quick sequence may be left out, the last one never is. `None` only at the end of the
    /// program's runtime.
    pub async fn next(&mut self) -> Option<UnitEvent> {
        self.events.recv().await
    }
}

impl Systemd {
    /// Watches units by signal.
    ///
    /// # Errors
    /// [`Error::NotAUnitName`]. A bus that is away is not an error: it is reported as an event for each unit, and the
    /// watch goes on when it is back.
    pub fn watch(&self, units: impl IntoIterator<Item = String>) -> Result<UnitWatch, Error> {
        let units: Vec<String> = units.into_iter().collect();
        units.iter().try_for_each(|unit| check_name(unit))?;
        let (sender, events) = mpsc::channel(QUEUE);
        tokio::spawn(
            Watcher {
                systemd: self.clone(),
                units,
                last: BTreeMap::new(),
                sender,
            }
            .run(),
        );
        Ok(UnitWatch { events })
    }
}

/// The reader is gone.
struct Closed;

struct Watcher {
    systemd: Systemd,
    units: Vec<String>,
    /// What was reported last; none for *cannot be seen*.
    last: BTreeMap<String, Option<UnitState>>,
    sender: mpsc::Sender<UnitEvent>,
}

impl Watcher {
    async fn run(mut self) {
        let mut failures = 0_usize;
        loop {
            let outcome = match self.systemd.link().await {
                Ok(link) => {
                    failures = 0;
                    self.follow(&link).await
                }
                Err(error) => self.report_all(&Arc::new(error)).await,
            };
            let pause = PAUSES[failures.min(PAUSES.len() - 1)];
            failures += 1;
            if outcome.is_err() {
                return;
            }
            tokio::select! {
                () = self.sender.closed() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Follows the units until the link ends.
    async fn follow(&mut self, link: &Link) -> Result<(), Closed> {
        // Listening starts before the first look, so a change in between is seen twice rather than never.
        let mut signals = link.listen();
        let mut paths = BTreeMap::new();
        let mut dirty = Dirty::All;
        loop {
            let mut unsure = false;
            for unit in self.units.clone() {
                if !dirty.includes(paths.get(&unit)) {
                    continue;
                }
                let state = look(link, &unit, &mut paths).await;
                unsure |=
                    matches!(&state, Err(error) if !matches!(error, Error::NoSuchUnit { .. }));
                self.report(&unit, state.map_err(Arc::new)).await?;
            }
            let patience = if unsure { RESYNC_UNSURE } else { RESYNC };
            dirty = match tokio::time::timeout(patience, self.changes(&mut signals)).await {
                Ok(dirty) => dirty?,
                Err(_) => Dirty::All,
            };
            if matches!(dirty, Dirty::LinkEnded) {
                return self
                    .report_all(&Arc::new(Error::Lost {
                        what: "watching units".to_owned(),
                    }))
                    .await;
            }
        }
    }

    /// Waits for a signal and takes all that are there at once, since one start makes a handful.
    async fn changes(&self, signals: &mut Receiver<Signal>) -> Result<Dirty, Closed> {
        let mut changed = BTreeSet::new();
        while changed.is_empty() {
            let first = tokio::select! {
                () = self.sender.closed() => return Err(Closed),
                signal = signals.recv() => signal,
            };
            match first {
                Ok(Signal::Changed { path }) => changed.insert(path),
                Ok(Signal::JobRemoved { .. }) => continue,
                Err(RecvError::Lagged(_)) => return Ok(Dirty::All),
                Err(RecvError::Closed) => return Ok(Dirty::LinkEnded),
            };
        }
        loop {
            match signals.try_recv() {
                Ok(Signal::Changed { path }) => changed.insert(path),
                Ok(Signal::JobRemoved { .. }) => continue,
                Err(TryRecvError::Lagged(_)) => return Ok(Dirty::All),
                Err(TryRecvError::Empty | TryRecvError::Closed) => {
                    return Ok(Dirty::Paths(changed));
                }
            };
        }
    }

    async fn report_all(&mut self, error: &Arc<Error>) -> Result<(), Closed> {
        for unit in self.units.clone() {
            self.report(&unit, Err(Arc::clone(error))).await?;
        }
        Ok(())
    }

    /// Passes on what differs from the last report.
    async fn report(
        &mut self,
        unit: &str,
        state: Result<UnitState, Arc<Error>>,
    ) -> Result<(), Closed> {
        let seen = state.as_ref().ok().cloned();
        if self.last.get(unit) == Some(&seen) {
            return Ok(());
        }
        self.last.insert(unit.to_owned(), seen);
        self.sender
            .send(UnitEvent {
                unit: unit.to_owned(),
                state,
            })
            .await
            .map_err(|_| Closed)
    }
}

/// What has to be looked at.
enum Dirty {
    /// Every unit.
    All,
    /// The units at these object paths.
    Paths(BTreeSet<String>),
    /// Nothing can be looked at any more.
    LinkEnded,
}

impl Dirty {
    /// Whether a unit at `path`, if that is known, is among them.
    fn includes(&self, path: Option<&String>) -> bool {
        match self {
            Self::All => true,
            Self::Paths(paths) => path.is_none_or(|path| paths.contains(path)),
            Self::LinkEnded => false,
        }
    }
}

/// Observes a unit; the first time, its changes are made visible before that.
async fn look(
    link: &Link,
    unit: &str,
    paths: &mut BTreeMap<String, String>,
) -> Result<UnitState, Error> {
    if !paths.contains_key(unit) {
        let path = load(link, unit).await?;
        link.watch(&path).await?;
        paths.insert(unit.to_owned(), path);
    }
    observe_at(link, unit, &paths[unit]).await
}
