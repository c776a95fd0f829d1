//! Members as the load balancer's own agent sees them, and who is left out for it.
//!
//! nginx open source has no checks of its own: a member that answers, and says that it cannot work, keeps its clients. So the
//! agent of the balancer's node runs the checks that the spec names, on each member, from where the clients come through.
//!
//! # Rules
//! * **Only *bad* leaves out, only *ok* brings back.** Unknown changes nothing (invariant I5).
//! * **A fault of all is no fault of one.** What all members depend on may be lost: then no client would be served better
//!   elsewhere. They notice it, and its end, one after the other. So a member is left out only if enough others take part
//!   that were well all the while in which it was found bad, and after that:
//!
//!   ```text
//!   it       ok ──── bad  bad  bad = verdict
//!   others   ok ──── ok ── ok ── ok ────── ok ──► left out
//!   ```
//! * **What is not a plan's wish is not remembered as one.** What a plan has put the member to stays written down; leaving
//!   it out is undone by its checks alone, also by an agent that has just started.
//! * **A switch begins anew.** What was seen before a plan switched a member says nothing about it after.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use interlock_model::check::{Check, CheckId, ProbeResult, Verdict};
use interlock_model::member::HeldMember;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Key;
use crate::probe::{History, Tools};

/// What is seen of all members that have checks. Clones share it.
#[derive(Debug, Clone, Default)]
pub(in crate::run) struct Watched {
    seen: Arc<Mutex<BTreeMap<Key, Seen>>>,
}

/// What is seen of one member.
#[derive(Debug)]
struct Seen {
    checks: BTreeMap<CheckId, Runs>,
    /// Runs that began before this do not count.
    counts_from: Instant,
    /// Since when one of its verdicts is bad, and that in words.
    bad: Option<(Instant, String)>,
    /// It takes part in the balancer, as that was last looked at.
    takes_part: bool,
    /// It was left out for its checks.
    left_out: bool,
}

/// The runs of one check.
#[derive(Debug)]
struct Runs {
    history: History,
    /// The beginning of the latest, and its result.
    last: (Instant, Verdict),
    /// The beginning of the first of those that were all good, up to the latest.
    good_from: Option<Instant>,
    /// The beginnings of the last bad ones: as many as make the verdict bad.
    bad: VecDeque<Instant>,
}

impl Runs {
    fn new(check: &Check, began: Instant) -> Self {
        Self {
            history: History::new(check.fail, check.pass),
            last: (began, Verdict::Unknown),
            good_from: None,
            bad: VecDeque::new(),
        }
    }

    fn add(&mut self, check: &Check, began: Instant, verdict: Verdict) {
        self.history.add(verdict);
        self.last = (began, verdict);
        match verdict {
            Verdict::Ok => drop(self.good_from.get_or_insert(began)),
            Verdict::Bad | Verdict::Unknown => self.good_from = None,
        }
        if verdict == Verdict::Bad {
            self.bad.push_back(began);
            let needed = usize::try_from(check.fail.runs()).unwrap_or(usize::MAX);
            while self.bad.len() > needed {
                self.bad.pop_front();
            }
        }
    }

    fn is_bad(&self) -> bool {
        self.history.verdict() == Verdict::Bad
    }
}

impl Seen {
    fn new() -> Self {
        Self {
            checks: BTreeMap::new(),
            counts_from: Instant::now(),
            bad: None,
            takes_part: false,
            left_out: false,
        }
    }

    /// Was each of so many checks good all the while between these two, and after that?
    fn was_well(&self, from: Instant, to: Instant, checks: usize) -> bool {
        let well =
            |runs: &&Runs| runs.last.0 > to && runs.good_from.is_some_and(|good| good <= from);
        self.checks.values().filter(well).count() == checks
    }

    /// The beginning of the first run that makes a verdict bad.
    fn bad_from(&self) -> Option<Instant> {
        let bad = self.checks.values().filter(|runs| runs.is_bad());
        bad.filter_map(|runs| runs.bad.front().copied()).min()
    }
}

impl Watched {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Key, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins anew: other members, or other checks.
    pub(in crate::run) fn assigned(&self) {
        self.all().clear();
    }

    /// What was seen of a member so far says nothing any more: it is switched.
    pub(super) fn forget(&self, key: &Key) {
        self.all().remove(key);
    }

    /// Runs one check of a member, for ever.
    pub(in crate::run) async fn watch(
        &self,
        key: &Key,
        id: &CheckId,
        check: &Check,
        tools: &Tools,
    ) {
        let mut runs = interval(check.every);
        runs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            runs.tick().await;
            let began = Instant::now();
            let result = tools.run(&check.kind, check.timeout).await;
            self.saw(key, (id, check), began, &result);
        }
    }

    /// A run that began then came to this.
    fn saw(
        &self,
        key: &Key,
        (id, check): (&CheckId, &Check),
        began: Instant,
        result: &ProbeResult,
    ) {
        let mut all = self.all();
        let seen = all.entry(key.clone()).or_insert_with(Seen::new);
        if began < seen.counts_from {
            return;
        }
        let runs = seen.checks.entry(id.clone());
        let runs = runs.or_insert_with(|| Runs::new(check, began));
        runs.add(check, began, result.verdict);
        if !seen.checks.values().any(Runs::is_bad) {
            seen.bad = None;
        } else if seen.bad.is_none() {
            seen.bad = Some((Instant::now(), format!("{id} is bad: {}", result.evidence)));
        }
    }

    /// The balancer was looked at.
    pub(super) fn takes_part(&self, key: &Key, takes_part: bool) {
        let mut all = self.all();
        all.entry(key.clone()).or_insert_with(Seen::new).takes_part = takes_part;
    }

    /// Why a member is to be left out now, if it is.
    pub(super) fn to_leave_out(&self, key: &Key, held: &HeldMember) -> Option<String> {
        let mut all = self.all();
        let it = all.get(key)?;
        let ((since, why), from) = (it.bad.clone()?, it.bad_from()?);
        let others = all.iter().filter(|(other, _)| other.is_beside(key));
        let well = others
            .filter(|(_, it)| it.takes_part && it.was_well(from, since, held.checks.len()))
            .count();
        let needed = usize::try_from(held.at_least).unwrap_or(usize::MAX).max(1);
        if well < needed {
            return None;
        }
        all.get_mut(key)?.left_out = true;
        Some(why)
    }

    /// Is it well by all of its checks? And was it left out for them by this process?
    pub(super) fn is_well(&self, key: &Key, held: &HeldMember) -> Option<bool> {
        let mut all = self.all();
        let seen = all.get_mut(key)?;
        let ok = |runs: &&Runs| runs.history.verdict() == Verdict::Ok;
        let well = seen.checks.values().filter(ok).count() == held.checks.len();
        well.then(|| std::mem::take(&mut seen.left_out))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use interlock_model::check::{CheckFrom, CheckKind, Threshold};
    use interlock_model::member::{Balancer, Member};

    use super::*;

    fn held(node: &str, at_least: u32) -> (Key, HeldMember) {
        let member = Member {
            service: "web".parse().expect("a name"),
            node: node.parse().expect("a name"),
            by: Balancer::Nginx {
                file: "/etc/nginx/web.conf".to_owned(),
            },
            backends: vec!["web".to_owned()],
            server: node.to_owned(),
        };
        let check = Check {
            kind: CheckKind::Tcp {
                target: format!("{node}:80"),
            },
            from: CheckFrom::Own,
            every: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            fail: Threshold::in_a_row(2),
            pass: Threshold::ONE,
            fresh: Duration::from_secs(10),
        };
        let id = CheckId {
            service: "web".parse().expect("a name"),
            check: "port".parse().expect("a name"),
        };
        let key = Key::of(&"lb".parse().expect("a name"), &member);
        let held = HeldMember {
            member,
            every: Duration::from_secs(1),
            watch_only: false,
            checks: vec![(id, check)],
            at_least,
        };
        (key, held)
    }

    /// A run of each member's check, one after the other, with these results.
    fn round(watched: &Watched, members: &[(Key, HeldMember)], results: &[Verdict]) {
        for ((key, held), verdict) in members.iter().zip(results) {
            let (id, check) = &held.checks[0];
            let result = ProbeResult {
                verdict: *verdict,
                evidence: "as the test says".to_owned(),
                value: None,
                paused: false,
            };
            watched.saw(key, (id, check), Instant::now(), &result);
        }
    }

    #[tokio::test]
    async fn one_that_is_bad_is_left_out_when_others_are_found_well_after_it_and_comes_back_when_well()
     {
        let watched = Watched::default();
        let members: Vec<_> = ["web1", "web2", "web3"].map(|node| held(node, 2)).into();
        for (key, _) in &members {
            watched.takes_part(key, true);
        }
        let out = |at: usize| watched.to_leave_out(&members[at].0, &members[at].1);
        let (ok, bad, unknown) = (Verdict::Ok, Verdict::Bad, Verdict::Unknown);
        round(&watched, &members, &[ok, ok, ok]);
        round(&watched, &members, &[bad, ok, ok]);
        assert_eq!(out(0), None, "once is not enough");
        round(&watched, &members[..1], &[bad]);
        assert_eq!(out(0), None, "the others were well before it was bad");
        round(&watched, &members, &[bad, ok, ok]);
        assert!(out(0).is_some_and(|why| why.contains("web.port is bad")));
        assert_eq!((out(1), out(2)), (None, None));
        watched.takes_part(&members[0].0, false);
        round(&watched, &members, &[unknown, bad, ok]);
        round(&watched, &members, &[unknown, bad, ok]);
        round(&watched, &members, &[unknown, bad, ok]);
        assert_eq!(out(1), None, "one would be left, of two");
        let well = || watched.is_well(&members[0].0, &members[0].1);
        assert_eq!(well(), None, "unknown is not well");
        round(&watched, &members, &[ok]);
        assert_eq!(well(), Some(true));
    }

    #[tokio::test]
    async fn a_fault_of_all_leaves_nobody_out() {
        let watched = Watched::default();
        let members: Vec<_> = ["web1", "web2"].map(|node| held(node, 0)).into();
        for (key, _) in &members {
            watched.takes_part(key, true);
        }
        let nobody = || {
            let mut out = members.iter();
            out.all(|(key, held)| watched.to_leave_out(key, held).is_none())
        };
        for results in [[Verdict::Ok; 2], [Verdict::Bad; 2], [Verdict::Bad; 2]] {
            round(&watched, &members, &results);
            assert!(nobody());
        }
        // One is well again before the other.
        for _ in 0..2 {
            round(&watched, &members, &[Verdict::Bad, Verdict::Ok]);
            assert!(nobody());
        }
        for _ in 0..2 {
            round(&watched, &members, &[Verdict::Bad, Verdict::Ok]);
        }
        assert!(!nobody(), "it stays bad, by itself");
    }

    #[tokio::test]
    async fn what_was_seen_before_a_switch_says_nothing_after_it() {
        let watched = Watched::default();
        let members: Vec<_> = ["web1", "web2"].map(|node| held(node, 1)).into();
        let began = Instant::now();
        let bad = [Verdict::Bad, Verdict::Ok];
        for _ in 0..3 {
            round(&watched, &members, &bad);
        }
        for (key, _) in &members {
            watched.takes_part(key, true);
        }
        watched.forget(&members[0].0);
        watched.takes_part(&members[0].0, true);
        let (key, held) = &members[0];
        let (id, check) = &held.checks[0];
        let late = ProbeResult {
            verdict: Verdict::Bad,
            evidence: String::new(),
            value: None,
            paused: false,
        };
        for _ in 0..3 {
            watched.saw(key, (id, check), began, &late);
        }
        assert_eq!(watched.to_leave_out(key, held), None);
    }
}
