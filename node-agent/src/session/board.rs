//! What was last seen of the machine, for everybody who wants to know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use interlock_engine::agent::asked::Asked;
use interlock_model::check::{CheckId, ProbeResult};
use interlock_model::ids::Generation;
use interlock_model::member::MemberObservation;
use interlock_model::names::ServiceName;
use interlock_model::observation::{InstanceObservation, RoleObservation};
use interlock_model::permission::Refusal;
use interlock_proto::{convert, v1};
use tokio::time::Instant;

use super::bell::Bell;
use super::evidence::line;

/// What was last seen of instances and checks. Clones share one board.
///
/// Every entry has the version of the board at which it last became news. A reader remembers the version up to which
/// it has read; what is news since then is a delta. Nothing is queued, so a slow reader costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Board {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    generation: Generation,
    version: u64,
    /// The version as of the latest news.
    news: u64,
    /// Rung when there is something to read.
    bells: Vec<Arc<Bell>>,
    /// The version at which the set of what is observed last changed; who has read less starts anew.
    founded: u64,
    instances: BTreeMap<ServiceName, Posted<InstanceObservation>>,
    checks: BTreeMap<CheckId, Posted<Seen>>,
    /// Instances of which an attempt is over that nobody has looked at since.
    acted_on: BTreeSet<ServiceName>,
    refuses: Vec<Refusal>,
}

#[derive(Debug)]
struct Posted<T> {
    value: T,
    version: u64,
}

#[derive(Debug)]
struct Seen {
    result: ProbeResult,
    /// When it was seen; monotonic.
    at: Duration,
    /// The same on the clock by which links know when they were asked.
    began: Instant,
}

/// How far a reader has read. A new one has read nothing.
#[derive(Debug, Default)]
pub(super) struct Cursor(Option<u64>);

/// What a reader has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    Nothing,
    /// Only what is no news, and has to be said all the same before it looks old.
    Renewals,
    News,
}

impl Board {
    /// From now on the board is about these instances and checks, by this generation of the spec. What was known of
    /// those that stay remains.
    pub fn found<'a>(
        &self,
        generation: Generation,
        instances: impl IntoIterator<Item = &'a ServiceName>,
        checks: impl IntoIterator<Item = &'a CheckId>,
    ) {
        self.change(|inner| {
            inner.generation = generation;
            let version = inner.version;
            inner.founded = version;
            let mut known = std::mem::take(&mut inner.instances);
            for service in instances {
                let value = known
                    .remove(service)
                    .map(|posted| posted.value)
                    .unwrap_or_default();
                inner
                    .instances
                    .insert(service.clone(), Posted { value, version });
            }
            let mut known = std::mem::take(&mut inner.checks);
            for check in checks {
                if let Some(posted) = known.remove(check) {
                    inner.checks.insert(check.clone(), posted);
                }
            }
            true
        });
    }

    /// What the agent's own file would refuse of what the board is about. Told when that is told anew
    /// ([`found`](Self::found)).
    pub fn refuse(&self, refusals: Vec<Refusal>) {
        self.lock().refuses = refusals;
    }

    /// What the agent's own file would refuse, as messages.
    #[must_use]
    pub fn refuses(&self) -> Vec<v1::Refusal> {
        self.lock().refuses_to_wire()
    }

    /// A member of a load balancer was seen. When it was last put back is remembered.
    pub fn post_member(&self, balancer: &ServiceName, seen: MemberObservation) {
        self.change(|inner| {
            let version = inner.version;
            // Nothing is told of what is not on the board.
            let Some(posted) = inner.instances.get_mut(balancer) else {
                return false;
            };
            let members = &mut posted.value.members;
            let same = |it: &MemberObservation| it.service == seen.service && it.node == seen.node;
            let before = members.iter().position(same).map(|at| members.remove(at));
            let mut seen = seen;
            if let Some(before) = &before
                && seen.put_back.is_none()
            {
                seen.put_back.clone_from(&before.put_back);
            }
            let is_news = before.as_ref() != Some(&seen);
            members.push(seen);
            members.sort_by(|a, b| (&a.service, &a.node).cmp(&(&b.service, &b.node)));
            if is_news {
                posted.version = version;
            }
            is_news
        });
    }

    /// Forgets the members of a load balancer that are not among these.
    pub fn keep_members(&self, balancer: &ServiceName, keep: impl Fn(&MemberObservation) -> bool) {
        self.change(|inner| {
            let version = inner.version;
            let Some(posted) = inner.instances.get_mut(balancer) else {
                return false;
            };
            let count = posted.value.members.len();
            posted.value.members.retain(|it| keep(it));
            if posted.value.members.len() == count {
                return false;
            }
            posted.version = version;
            true
        });
    }

    /// The role of an instance; none if it has none here.
    pub fn post_role(&self, service: &ServiceName, role: Option<RoleObservation>) {
        self.change(|inner| {
            let version = inner.version;
            match inner.instances.get_mut(service) {
                Some(posted) if posted.value.role != role => {
                    posted.value.role = role;
                    posted.version = version;
                    true
                }
                // Nothing is told of what is not on the board.
                Some(_) | None => false,
            }
        });
    }

    /// An attempt on an instance is over. If it runs when it is seen next, and nobody knows since when, that is told anew: by
    /// the word from before nobody could tell that it runs again.
    pub fn acted_on(&self, service: &ServiceName) {
        self.lock().acted_on.insert(service.clone());
    }

    /// An instance was seen. Nothing happens if it looks as before. Its members and its role are posted apart.
    pub fn post_instance(&self, service: &ServiceName, seen: InstanceObservation) {
        self.change(|inner| {
            let version = inner.version;
            let again =
                inner.acted_on.remove(service) && seen.since.is_none() && !seen.state.is_down();
            let posted = inner.instances.get(service);
            let apart = posted.map(|it| (it.value.members.clone(), it.value.role.clone()));
            let (members, role) = apart.unwrap_or_default();
            let seen = InstanceObservation {
                members,
                role,
                ..seen
            };
            match inner.instances.get_mut(service) {
                Some(posted) if posted.value == seen && !again => false,
                Some(posted) => {
                    *posted = Posted {
                        value: seen,
                        version,
                    };
                    true
                }
                None => {
                    inner.instances.insert(
                        service.clone(),
                        Posted {
                            value: seen,
                            version,
                        },
                    );
                    true
                }
            }
        });
    }

    /// A run of a check that began at `began`, by the monotonic time `at`, has ended. That is news even if it found what it
    /// found before: whoever runs checks posts an unchanged result only to keep it from looking old.
    pub fn post_check(&self, check: &CheckId, result: ProbeResult, began: Instant, at: Duration) {
        self.change(|inner| {
            inner.post(check, Seen { result, at, began });
            true
        });
    }

    /// The same of a run that found what is known, and that may be told together with others.
    pub fn renew_check(&self, check: &CheckId, result: ProbeResult, began: Instant, at: Duration) {
        let mut inner = self.lock();
        inner.version += 1;
        inner.post(check, Seen { result, at, began });
        inner.ring_all();
    }

    /// What is known of an instance; *unknown* if nothing.
    #[must_use]
    pub fn instance(&self, service: &ServiceName) -> InstanceObservation {
        self.lock()
            .instances
            .get(service)
            .map(|posted| posted.value.clone())
            .unwrap_or_default()
    }

    /// Everything, as messages. `now` is monotonic.
    #[must_use]
    pub fn all(&self, now: Duration) -> (Vec<v1::Instance>, Vec<v1::CheckResult>) {
        let seen = self.lock().since(0, now, &Asked::default());
        (seen.instances, seen.checks)
    }

    /// The generation that the board is about; 0 before the first assignment.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.lock().generation
    }

    /// From now on this bell is rung when there is something to read.
    pub(super) fn hang(&self, bell: Arc<Bell>) {
        self.lock().bells.push(bell);
    }

    /// What a reader has not read.
    pub(super) fn unread(&self, cursor: &Cursor) -> Unread {
        let inner = self.lock();
        match cursor.0 {
            Some(read) if read >= inner.version => Unread::Nothing,
            Some(read) if read >= inner.news => Unread::Renewals,
            Some(_) | None => Unread::News,
        }
    }

    /// What is news to a reader that was asked so; none if nothing is.
    pub(super) fn read(
        &self,
        cursor: &mut Cursor,
        now: Duration,
        asked: &Asked<Instant>,
    ) -> Option<v1::Observed> {
        let inner = self.lock();
        let full = cursor.0.is_none_or(|read| read < inner.founded);
        let read = if full {
            0
        } else {
            cursor.0.unwrap_or_default()
        };
        cursor.0 = Some(inner.version);
        let observed = v1::Observed {
            full,
            refuses: match full {
                true => inner.refuses_to_wire(),
                false => Vec::new(),
            },
            ..inner.since(read, now, asked)
        };
        (full || !observed.instances.is_empty() || !observed.checks.is_empty()).then_some(observed)
    }

    fn change(&self, change: impl FnOnce(&mut Inner) -> bool) {
        let mut inner = self.lock();
        inner.version += 1;
        if change(&mut inner) {
            inner.news = inner.version;
            inner.ring_all();
        } else {
            inner.version -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is complete before anything can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn ring_all(&self) {
        self.bells.iter().for_each(|bell| bell.ring());
    }

    /// Puts the result of a check in its place, under the version that now is.
    fn post(&mut self, check: &CheckId, value: Seen) {
        let posted = Posted {
            value,
            version: self.version,
        };
        match self.checks.get_mut(check) {
            Some(known) => *known = posted,
            None => drop(self.checks.insert(check.clone(), posted)),
        }
    }

    fn since(&self, read: u64, now: Duration, asked: &Asked<Instant>) -> v1::Observed {
        let instances = self
            .instances
            .iter()
            .filter(|(_, posted)| posted.version > read);
        let checks = self
            .checks
            .iter()
            .filter(|(_, posted)| posted.version > read);
        v1::Observed {
            full: false,
            instances: instances
                .map(|(service, posted)| instance_to_wire(service, &posted.value))
                .collect(),
            checks: checks
                .map(|(check, posted)| check_to_wire(check, &posted.value, now, asked))
                .collect(),
            generation: self.generation.0,
            refuses: Vec::new(),
        }
    }

    fn refuses_to_wire(&self) -> Vec<v1::Refusal> {
        self.refuses.iter().map(convert::refusal_to_wire).collect()
    }
}

fn instance_to_wire(service: &ServiceName, seen: &InstanceObservation) -> v1::Instance {
    v1::Instance {
        service: service.to_string(),
        state: v1::InstanceState::from(seen.state).into(),
        since_ms: seen.since.map_or(0, |since| since.0),
        reason: line(&seen.reason),
        wanted: v1::Wanted::from(seen.wanted).into(),
        restarts: seen.restarts,
        given_up: seen.given_up,
        orphaned: seen.orphaned,
        members: seen
            .members
            .iter()
            .map(convert::member_seen_to_wire)
            .collect(),
        role: seen.role.as_ref().map(convert::role_to_wire),
    }
}

fn check_to_wire(
    check: &CheckId,
    seen: &Seen,
    now: Duration,
    asked: &Asked<Instant>,
) -> v1::CheckResult {
    v1::CheckResult {
        service: check.service.to_string(),
        check: check.check.to_string(),
        verdict: v1::Verdict::from(seen.result.verdict).into(),
        evidence: seen.result.evidence.clone(),
        value: seen.result.value.clone().unwrap_or_default(),
        age_ms: convert::millis(now.saturating_sub(seen.at)),
        paused: seen.result.paused,
        after: asked.before(seen.began),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use interlock_model::check::Verdict;
    use interlock_model::observation::InstanceState;
    use interlock_model::time::Timestamp;

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn web() -> ServiceName {
        "web".parse().unwrap()
    }

    fn check() -> CheckId {
        CheckId {
            service: web(),
            check: "port".parse().unwrap(),
        }
    }

    fn result(verdict: Verdict) -> ProbeResult {
        ProbeResult {
            verdict,
            evidence: "seen".into(),
            value: None,
            paused: false,
        }
    }

    fn unasked() -> Asked<Instant> {
        Asked::default()
    }

    fn running() -> InstanceObservation {
        InstanceObservation {
            state: InstanceState::Running,
            ..InstanceObservation::default()
        }
    }

    #[test]
    fn a_new_reader_gets_everything_and_then_only_what_is_news() {
        let board = Board::default();
        board.found(Generation(1), [&web()], [&check()]);
        let mut cursor = Cursor::default();
        let first = board.read(&mut cursor, at(0), &unasked()).unwrap();
        assert!(
            first.full && first.instances.len() == 1 && first.checks.is_empty(),
            "{first:?}"
        );
        assert_eq!(board.read(&mut cursor, at(0), &unasked()), None);

        board.post_instance(&web(), running());
        board.post_instance(&web(), running());
        let delta = board.read(&mut cursor, at(0), &unasked()).unwrap();
        assert!(
            !delta.full && delta.instances[0].state() == v1::InstanceState::Running,
            "{delta:?}"
        );
        assert_eq!(board.read(&mut cursor, at(0), &unasked()), None);
    }

    #[test]
    fn what_runs_since_nobody_knows_when_is_told_anew_after_an_attempt_and_what_is_known_is_not() {
        let board = Board::default();
        board.found(Generation(1), [&web()], []);
        let mut cursor = Cursor::default();
        let mut news = |seen: InstanceObservation| {
            board.post_instance(&web(), seen);
            board.read(&mut cursor, at(0), &unasked()).is_some()
        };
        let stopped = || InstanceObservation {
            state: InstanceState::Stopped,
            ..InstanceObservation::default()
        };
        let since = || InstanceObservation {
            since: Some(Timestamp(7)),
            ..running()
        };
        for (seen, told) in [(running(), true), (since(), false), (stopped(), false)] {
            assert!(news(seen.clone()));
            board.acted_on(&web());
            assert_eq!(news(seen.clone()), told, "{seen:?}");
            assert!(!news(seen.clone()), "once: {seen:?}");
        }
    }

    #[test]
    fn a_check_that_is_confirmed_is_news_and_its_age_is_that_of_the_last_run() {
        let board = Board::default();
        board.found(Generation(1), [], [&check()]);
        let mut cursor = Cursor::default();
        for seen in [0, 4] {
            board.post_check(&check(), result(Verdict::Ok), Instant::now(), at(seen));
            assert!(
                board
                    .read(&mut cursor, at(seen), &unasked())
                    .is_some_and(|delta| delta.checks[0].age_ms == 0)
            );
        }
        let (_, checks) = board.all(at(6));
        assert_eq!(checks[0].age_ms, 2000);
    }

    #[test]
    fn another_assignment_makes_every_reader_start_anew() {
        let board = Board::default();
        board.found(Generation(1), [&web()], []);
        let mut cursor = Cursor::default();
        board.post_instance(&web(), running());
        board.read(&mut cursor, at(0), &unasked()).unwrap();
        let other: ServiceName = "db".parse().unwrap();
        board.found(Generation(2), [&web(), &other], []);
        let full = board.read(&mut cursor, at(0), &unasked()).unwrap();
        assert!(
            full.full && full.generation == 2 && full.instances.len() == 2,
            "{full:?}"
        );
        assert_eq!(
            board.instance(&web()).state,
            InstanceState::Running,
            "what stays is still known"
        );
    }

    #[test]
    fn a_result_names_the_question_that_its_probe_followed_and_not_the_last_one() {
        let board = Board::default();
        board.found(Generation(1), [], [&check()]);
        let began = Instant::now();
        let later = |millis| began + Duration::from_millis(millis);
        let mut asked = Asked::default();
        asked.arrived(70, began);
        asked.arrived(80, later(2));
        let after = |began| {
            board.post_check(&check(), result(Verdict::Ok), began, at(0));
            let told = board.read(&mut Cursor::default(), at(0), &asked);
            told.map(|told| told.checks[0].after)
        };
        assert_eq!(after(later(1)), Some(70));
        assert_eq!(after(later(3)), Some(80));
        let (_, checks) = board.all(at(0));
        assert_eq!(checks[0].after, 0, "a person has asked nothing");
    }

    #[test]
    fn what_is_no_news_is_known_as_that_and_is_read_with_the_next() {
        let board = Board::default();
        let bell = Arc::new(Bell::default());
        board.hang(Arc::clone(&bell));
        let mut cursor = Cursor::default();
        board.found(Generation(1), [], [&check()]);
        assert_eq!(board.unread(&cursor), Unread::News);
        board.post_check(&check(), result(Verdict::Ok), Instant::now(), at(0));
        board.read(&mut cursor, at(0), &unasked()).unwrap();
        assert_eq!(board.unread(&cursor), Unread::Nothing);
        assert!(bell.rung().now_or_never().is_some());

        board.renew_check(&check(), result(Verdict::Ok), Instant::now(), at(3));
        assert!(bell.rung().now_or_never().is_some());
        assert_eq!(board.unread(&cursor), Unread::Renewals);
        let told = board.read(&mut cursor, at(4), &unasked()).unwrap();
        assert_eq!(told.checks[0].age_ms, 1000);
        board.renew_check(&check(), result(Verdict::Ok), Instant::now(), at(5));
        board.post_check(&check(), result(Verdict::Bad), Instant::now(), at(6));
        assert_eq!(board.unread(&cursor), Unread::News);
    }
}
