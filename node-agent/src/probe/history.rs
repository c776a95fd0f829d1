//! From single runs to a verdict that can be acted on.
//!
//! One lost packet must not move a service, and one lucky answer must not end an alarm. A verdict therefore changes only
//! after so many runs of the last so many, and the way from good to *unknown* is as long as the way to *bad*:
//!
//! * to **ok** after `pass` good runs;
//! * away from ok after `fail` runs that were not good: to **bad** if so many were bad, else to **unknown**;
//! * between bad and unknown after `fail` runs of the other kind;
//! * before anything was established the verdict is **unknown**.
//!
//! `3` means three in a row, `3 of 5` three of the last five runs. What had been counted for the other side is forgotten
//! when the verdict turns good, and when it ceases to be: else the failures of before a recovery would, with a single
//! new one, take it back.

use std::collections::VecDeque;

use interlock_model::check::{Threshold, Verdict};

/// The recent runs of one check, as far as they matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    fail: Threshold,
    pass: Threshold,
    verdict: Verdict,
    /// The last runs, oldest first: as many as the larger of the thresholds looks at. None is a run that does not count
    /// any more.
    runs: VecDeque<Option<Verdict>>,
}

impl History {
    /// No runs yet.
    #[must_use]
    pub fn new(fail: Threshold, pass: Threshold) -> Self {
        Self {
            fail,
            pass,
            verdict: Verdict::Unknown,
            runs: VecDeque::new(),
        }
    }

    /// The verdict so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Takes a run into account and returns the verdict after it.
    pub fn add(&mut self, run: Verdict) -> Verdict {
        if self.runs.len() == size(self.fail.of().max(self.pass.of())) {
            self.runs.pop_front();
        }
        self.runs.push_back(Some(run));
        let enough = |count: usize| count >= size(self.fail.runs());
        let verdict = match self.verdict {
            Verdict::Bad | Verdict::Unknown if self.good() >= size(self.pass.runs()) => Verdict::Ok,
            _ if enough(self.failed(Verdict::Bad)) => Verdict::Bad,
            Verdict::Ok if enough(self.not_good()) => Verdict::Unknown,
            _ if enough(self.failed(Verdict::Unknown)) => Verdict::Unknown,
            same => same,
        };
        match (self.verdict, verdict) {
            (Verdict::Bad | Verdict::Unknown, Verdict::Ok) => self.forget(|run| run != Verdict::Ok),
            (Verdict::Ok, Verdict::Bad | Verdict::Unknown) => self.forget(|run| run == Verdict::Ok),
            _ => {}
        }
        self.verdict = verdict;
        verdict
    }

    /// For evidence: how many of the last runs speak for another verdict, or made this one; none if all of them agree,
    /// and nothing but the last run has to be told.
    #[must_use]
    pub fn tally(&self) -> Option<String> {
        match self.verdict {
            Verdict::Ok if self.not_good() > 0 => {
                Some(self.told(self.not_good(), self.fail, "failures", "failed"))
            }
            Verdict::Bad | Verdict::Unknown if self.good() > 0 => {
                Some(self.told(self.good(), self.pass, "successes", "were good"))
            }
            Verdict::Bad if self.failed(Verdict::Unknown) > 0 => Some(self.told(
                self.failed(Verdict::Unknown),
                self.fail,
                "without an answer",
                "were without an answer",
            )),
            Verdict::Unknown if self.failed(Verdict::Bad) > 0 => {
                Some(self.told(self.failed(Verdict::Bad), self.fail, "failures", "failed"))
            }
            Verdict::Bad if !self.fail.is_in_a_row() => {
                Some(self.told(self.failed(Verdict::Bad), self.fail, "failures", "failed"))
            }
            Verdict::Ok | Verdict::Bad | Verdict::Unknown => None,
        }
    }

    /// In a row only how far it has come matters; of several, how many there were.
    fn told(&self, count: usize, threshold: Threshold, row: &str, several: &str) -> String {
        if threshold.is_in_a_row() {
            format!("{count} of {threshold} {row}")
        } else {
            let seen = self.runs.len().min(size(threshold.of()));
            format!("{count} of the last {seen} {several}")
        }
    }

    fn good(&self) -> usize {
        self.count(self.pass, |run| run == Verdict::Ok)
    }

    fn not_good(&self) -> usize {
        self.count(self.fail, |run| run != Verdict::Ok)
    }

    /// How many were bad, or had no answer.
    fn failed(&self, how: Verdict) -> usize {
        self.count(self.fail, |run| run == how)
    }

    /// Of the last runs that a threshold looks at; in a row, those since the last other one.
    fn count(&self, threshold: Threshold, counts: impl Fn(Verdict) -> bool) -> usize {
        let last = self.runs.iter().rev().take(size(threshold.of()));
        let counts = |run: &&Option<Verdict>| run.is_some_and(&counts);
        if threshold.is_in_a_row() {
            last.take_while(counts).count()
        } else {
            last.filter(counts).count()
        }
    }

    fn forget(&mut self, what: impl Fn(Verdict) -> bool) {
        for run in &mut self.runs {
            *run = run.filter(|run| !what(*run));
        }
    }
}

/// A number of runs; thresholds are far below what a machine can count.
fn size(runs: u32) -> usize {
    usize::try_from(runs).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(fail: &str, pass: &str) -> History {
        History::new(fail.parse().unwrap(), pass.parse().unwrap())
    }

    fn run(letter: char) -> Verdict {
        match letter {
            'o' => Verdict::Ok,
            'b' => Verdict::Bad,
            _ => Verdict::Unknown,
        }
    }

    /// `o` good, `b` bad, `u` unknown: the verdicts after each run, in the same letters.
    fn verdicts(fail: &str, pass: &str, runs: &str) -> String {
        let mut history = history(fail, pass);
        let verdict = |run| match history.add(run) {
            Verdict::Ok => 'o',
            Verdict::Bad => 'b',
            Verdict::Unknown => 'u',
        };
        runs.chars().map(run).map(verdict).collect()
    }

    fn tally(fail: &str, pass: &str, runs: &str) -> Option<String> {
        let mut history = history(fail, pass);
        for run in runs.chars().map(run) {
            history.add(run);
        }
        history.tally()
    }

    #[test]
    fn a_verdict_turns_bad_after_fail_bad_runs_in_a_row_and_not_before() {
        assert_eq!(verdicts("3", "1", "obbobbb"), "oooooob");
    }

    #[test]
    fn a_verdict_turns_good_after_pass_good_runs_in_a_row() {
        assert_eq!(verdicts("1", "2", "boboo"), "bbbbo");
        assert_eq!(verdicts("3", "2", "ooo"), "uoo", "and unknown comes first");
    }

    #[test]
    fn of_several_runs_the_gaps_do_not_matter() {
        assert_eq!(verdicts("3 of 5", "1", "obobob"), "ooooob");
        assert_eq!(
            verdicts("3 of 5", "1", "obooobooobooob"),
            "oooooooooooooo",
            "never three of the last five"
        );
        assert_eq!(verdicts("1", "2 of 3", "bobob"), "bbbob");
        assert_eq!(verdicts("1", "2 of 3", "bobbobbo"), "bbbbbbbb");
    }

    #[test]
    fn a_recovery_is_not_taken_back_by_failures_of_before_it() {
        assert_eq!(verdicts("3 of 5", "1", "obbbobb"), "ooobooo");
        assert_eq!(verdicts("3 of 5", "1", "obbbobbb"), "ooobooob");
        assert_eq!(
            verdicts("2 of 4", "2 of 4", "oobbo"),
            "uoobb",
            "nor a failure by successes of before it"
        );
    }

    #[test]
    fn runs_without_an_answer_end_a_good_verdict_as_unknown() {
        assert_eq!(verdicts("2", "1", "ouu"), "oou");
        assert_eq!(
            verdicts("3", "1", "obub"),
            "ooou",
            "a mixture proves nothing bad"
        );
        assert_eq!(verdicts("3", "1", "obubbb"), "ooouub");
        assert_eq!(verdicts("3 of 5", "1", "obouob"), "ooooou");
    }

    #[test]
    fn unknown_never_turns_into_good_by_itself() {
        assert_eq!(verdicts("1", "1", "uuu"), "uuu");
        assert_eq!(verdicts("2", "1", "bbuu"), "ubbu");
    }

    #[test]
    fn how_far_it_has_come_can_be_told() {
        assert_eq!(tally("3", "1", "o"), None);
        assert_eq!(tally("3", "1", "ob").as_deref(), Some("1 of 3 failures"));
        assert_eq!(tally("3", "2", "bbbo").as_deref(), Some("1 of 2 successes"));
    }

    #[test]
    fn how_many_of_the_last_runs_failed_can_be_told_before_and_after_the_verdict() {
        let tally = |runs| tally("3 of 5", "2 of 3", runs);
        assert_eq!(tally("ooooo"), None);
        assert_eq!(tally("oob").as_deref(), Some("1 of the last 3 failed"));
        assert_eq!(tally("oooobob").as_deref(), Some("2 of the last 5 failed"));
        assert_eq!(tally("ooobobb").as_deref(), Some("3 of the last 5 failed"));
        assert_eq!(
            tally("ooobbbo").as_deref(),
            Some("1 of the last 3 were good")
        );
    }
}
