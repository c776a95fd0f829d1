//! The scheduler of checks: one task, one timer, however many checks.
//!
//! Runs are futures of that one task, so a run costs one small allocation and no thread or task of its own. The
//! schedule is a set ordered by due time; the timer is set to its first entry.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use interlock_model::check::{Check, CheckId, ProbeResult, Verdict};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{History, Tools, outcome};

/// The first run of a new check starts within this, or within its period if that is shorter: soon, but not all checks
/// of a cluster in the same millisecond after a new spec.
const FIRST_WITHIN: Duration = Duration::from_secs(2);

/// What is due within this from now on is run now: so many checks that are spread over a second do not wake this machine for
/// each of them. Each waking costs as much as the look of a check or two.
const TOGETHER: Duration = Duration::from_millis(25);

/// How long a result has to be fresh for, at least, if it may wait to be told: many times as long as it waits.
const KEEPS: Duration = Duration::from_secs(2);

/// Requests that may wait. They are taken at once; the bound is for a caller that loops.
const REQUESTS: usize = 64;

/// What is known of a check now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The check.
    pub check: CheckId,
    /// The verdict after so many runs, with the evidence of the latest run.
    pub result: ProbeResult,
    /// The start of the latest run whose result agrees with the verdict; of the latest run if none does. Freshness
    /// counts from here.
    pub at: Instant,
    /// Whether the run was asked for ([`Prober::run_now`]): then it is reported even if nothing changed.
    pub asked: bool,
    /// Whether it may wait a moment, to be told together with others: it says what was said before, only newer, and is not
    /// too old soon.
    pub may_wait: bool,
}

enum Request {
    Assign(BTreeMap<CheckId, Check>),
    RunNow(Vec<CheckId>),
}

/// A running scheduler. Dropping it ends all runs.
#[derive(Debug)]
pub struct Prober {
    requests: mpsc::Sender<Request>,
    task: JoinHandle<()>,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Prober {
    /// Starts without checks. `report` is called on each change of a result, and otherwise at least every third of the
    /// time for which a result is fresh; it must return at once.
    pub fn start(tools: Tools, report: impl FnMut(Report) + Send + 'static) -> Self {
        let (requests, incoming) = mpsc::channel(REQUESTS);
        Self {
            requests,
            task: tokio::spawn(Scheduler::new(tools, report).run(incoming)),
        }
    }

    /// Replaces the set of checks. A check that stays as it is keeps its history and its schedule; a run of one that
    /// changed or went is finished, but not reported.
    pub async fn assign(&self, checks: BTreeMap<CheckId, Check>) {
        // The task ends only with this handle.
        let _ = self.requests.send(Request::Assign(checks)).await;
    }

    /// Runs checks at once and reports each whatever comes out. A run that is already going on began before this was
    /// asked, so another one follows it. Checks that are not assigned are ignored.
    pub async fn run_now(&self, checks: Vec<CheckId>) {
        let _ = self.requests.send(Request::RunNow(checks)).await;
    }
}

/// An assigned check.
struct Entry {
    check: Arc<Check>,
    /// Tells runs of this check from those of an earlier one of the same name.
    serial: u64,
    history: History,
    due: Instant,
    running: bool,
    /// A run was asked for: the next one is reported in any case.
    asked: bool,
    /// The run that is going on was asked for.
    asked_running: bool,
    /// The latest run that agreed with the verdict: its start and its value.
    supported: Option<(Instant, Option<String>)>,
    reported: Option<(ProbeResult, Instant)>,
}

/// A run that ended.
struct Ended {
    check: CheckId,
    serial: u64,
    started: Instant,
    result: ProbeResult,
}

struct Scheduler<R> {
    tools: Arc<Tools>,
    report: R,
    entries: BTreeMap<CheckId, Entry>,
    due: BTreeSet<(Instant, CheckId)>,
    serial: u64,
    random: RandomState,
}

impl<R: FnMut(Report) + Send> Scheduler<R> {
    fn new(tools: Tools, report: R) -> Self {
        Self {
            tools: Arc::new(tools),
            report,
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            serial: 0,
            random: RandomState::new(),
        }
    }

    async fn run(mut self, mut incoming: mpsc::Receiver<Request>) {
        let mut runs = FuturesUnordered::new();
        let timer = tokio::time::sleep(Duration::ZERO);
        let mut timer = std::pin::pin!(timer);
        loop {
            let next = self.due.first().map(|(at, _)| *at);
            if let Some(at) = next
                && timer.deadline() != at
            {
                timer.as_mut().reset(at);
            }
            tokio::select! {
                // A new set of checks counts before results of the old one.
                biased;
                request = incoming.recv() => match request {
                    Some(Request::Assign(checks)) => self.assign(checks),
                    Some(Request::RunNow(checks)) => self.ask(&checks),
                    None => return,
                },
                Some(ended) = runs.next() => self.ended(ended),
                () = &mut timer, if next.is_some() => {}
            }
            // A check that is alone wakes when it is due, and takes along whoever would be next.
            let now = Instant::now();
            let until = match self.due.first() {
                Some((first, _)) if *first <= now => now + TOGETHER,
                _ => now,
            };
            while let Some((id, serial, check)) = self.take_due(now, until) {
                let tools = Arc::clone(&self.tools);
                runs.push(async move {
                    let started = Instant::now();
                    let result = tools.run(&check.kind, check.timeout).await;
                    Ended {
                        check: id,
                        serial,
                        started,
                        result,
                    }
                });
            }
        }
    }

    fn assign(&mut self, checks: BTreeMap<CheckId, Check>) {
        let now = Instant::now();
        let mut known = std::mem::take(&mut self.entries);
        for (id, check) in checks {
            let entry = match known.remove(&id) {
                Some(entry) if *entry.check == check => entry,
                _ => self.entry(&id, check, now),
            };
            self.entries.insert(id, entry);
        }
        self.due = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.running)
            .map(|(id, entry)| (entry.due, id.clone()))
            .collect();
    }

    fn entry(&mut self, id: &CheckId, check: Check, now: Instant) -> Entry {
        self.serial += 1;
        let spread = FIRST_WITHIN.min(check.every);
        // The top 32 bits of a keyed hash are uniform enough to spread load.
        let part = u32::try_from(self.random.hash_one((id, self.serial)) >> 32).unwrap_or_default();
        Entry {
            serial: self.serial,
            history: History::new(check.fail, check.pass),
            due: now + spread.mul_f64(f64::from(part) / f64::from(u32::MAX)),
            running: false,
            asked: false,
            asked_running: false,
            supported: None,
            reported: None,
            check: Arc::new(check),
        }
    }

    fn ask(&mut self, checks: &[CheckId]) {
        let now = Instant::now();
        for id in checks {
            let Some(entry) = self.entries.get_mut(id) else {
                continue;
            };
            entry.asked = true;
            if !entry.running {
                self.due.remove(&(entry.due, id.clone()));
                entry.due = now;
                self.due.insert((now, id.clone()));
            }
        }
    }

    /// Marks the next check that is due until then as running. One that would run before a tenth of its period is left for its
    /// own time.
    fn take_due(&mut self, now: Instant, until: Instant) -> Option<(CheckId, u64, Arc<Check>)> {
        let (due, id) = self.due.first()?;
        let early = self
            .entries
            .get(id)
            .map_or(Duration::ZERO, |it| it.check.every / 10);
        if *due > until.min(now + early) {
            return None;
        }
        let (_, id) = self.due.pop_first()?;
        let entry = self.entries.get_mut(&id)?;
        entry.running = true;
        entry.asked_running = std::mem::take(&mut entry.asked);
        Some((id, entry.serial, Arc::clone(&entry.check)))
    }

    fn ended(&mut self, ended: Ended) {
        let Some(entry) = self
            .entries
            .get_mut(&ended.check)
            .filter(|entry| entry.serial == ended.serial)
        else {
            return;
        };
        let now = Instant::now();
        entry.running = false;
        let asked = std::mem::take(&mut entry.asked_running);
        // A fixed rhythm; what was missed while the run took long is not made up for.
        entry.due = if entry.asked {
            now
        } else {
            (entry.due + entry.check.every).max(now)
        };
        self.due.insert((entry.due, ended.check.clone()));

        let run = ended.result.verdict;
        let verdict = entry.history.add(run);
        if run == verdict || verdict == Verdict::Unknown {
            entry.supported = Some((ended.started, ended.result.value));
        }
        let (at, value) = entry.supported.clone().unwrap_or((ended.started, None));
        let evidence = match entry.history.tally() {
            None => ended.result.evidence,
            Some(tally) => outcome::line(&format!("{tally}: {}", ended.result.evidence)),
        };
        let result = ProbeResult {
            verdict,
            evidence,
            value,
            paused: ended.result.paused && verdict == Verdict::Bad,
        };
        let renew = entry.check.fresh / 3;
        let reported = entry.reported.as_ref();
        let news = reported.is_none_or(|(last, told)| *last != result || now - *told >= renew);
        if news || asked {
            let says_the_same = reported.is_some_and(|(last, _)| {
                (last.verdict, &last.value, last.paused)
                    == (result.verdict, &result.value, result.paused)
            });
            let may_wait = says_the_same && !asked && entry.check.fresh >= KEEPS;
            entry.reported = Some((result.clone(), now));
            (self.report)(Report {
                check: ended.check,
                result,
                at,
                asked,
                may_wait,
            });
        }
    }
}

#[cfg(test)]
#[path = "prober_tests.rs"]
mod tests;
