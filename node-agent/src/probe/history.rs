//! From single runs to a verdict that can be acted on.
//!
//! One lost packet must not move a service, and one lucky answer must not end an alarm. A verdict therefore changes
//! only after a run of equal results, and the way from good to *unknown* is as long as the way to *bad*:
//!
//! * to **ok** after `pass` consecutive good runs;
//! * away from ok after `fail` consecutive runs that were not good: to **bad** if all of them were bad, else to
//!   **unknown**;
//! * between bad and unknown after `fail` consecutive runs of the other kind;
//! * before anything was established the verdict is **unknown**.

use interlock_model::check::Verdict;

/// The recent runs of one check, as far as they matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    fail: u32,
    pass: u32,
    verdict: Verdict,
    good: u32,
    bad: u32,
    unknown: u32,
    not_good: u32,
}

impl History {
    /// No runs yet. `fail` and `pass` of 0 count as 1.
    #[must_use]
    pub fn new(fail: u32, pass: u32) -> Self {
        Self {
            fail: fail.max(1),
            pass: pass.max(1),
            verdict: Verdict::Unknown,
            good: 0,
            bad: 0,
            unknown: 0,
            not_good: 0,
        }
    }

    /// The verdict so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Takes a run into account and returns the verdict after it.
    pub fn add(&mut self, run: Verdict) -> Verdict {
        let count = |counter: &mut u32, hit: bool| {
            *counter = if hit { counter.saturating_add(1) } else { 0 }
        };
        count(&mut self.good, run == Verdict::Ok);
        count(&mut self.bad, run == Verdict::Bad);
        count(&mut self.unknown, run == Verdict::Unknown);
        count(&mut self.not_good, run != Verdict::Ok);
        self.verdict = match self.verdict {
            _ if self.good >= self.pass => Verdict::Ok,
            _ if self.bad >= self.fail => Verdict::Bad,
            Verdict::Ok if self.not_good >= self.fail => Verdict::Unknown,
            _ if self.unknown >= self.fail => Verdict::Unknown,
            same => same,
        };
        self.verdict
    }

    /// For evidence: how far the last runs have come towards another verdict; none if they agree with it.
    #[must_use]
    pub fn pending(&self) -> Option<String> {
        let progress =
            |count: u32, needed: u32, word: &str| Some(format!("{count} of {needed} {word}"));
        match self.verdict {
            Verdict::Ok if self.not_good > 0 => progress(self.not_good, self.fail, "failures"),
            Verdict::Bad | Verdict::Unknown if self.good > 0 => {
                progress(self.good, self.pass, "successes")
            }
            Verdict::Bad if self.unknown > 0 => {
                progress(self.unknown, self.fail, "without an answer")
            }
            Verdict::Unknown if self.bad > 0 => progress(self.bad, self.fail, "failures"),
            Verdict::Ok | Verdict::Bad | Verdict::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `o` good, `b` bad, `u` unknown: the verdicts after each run, in the same letters.
    fn verdicts(fail: u32, pass: u32, runs: &str) -> String {
        let mut history = History::new(fail, pass);
        let verdict = |run| match history.add(run) {
            Verdict::Ok => 'o',
            Verdict::Bad => 'b',
            Verdict::Unknown => 'u',
        };
        let run = |letter| match letter {
            'o' => Verdict::Ok,
            'b' => Verdict::Bad,
            _ => Verdict::Unknown,
        };
        runs.chars().map(run).map(verdict).collect()
    }

    #[test]
    fn a_verdict_turns_bad_after_fail_bad_runs_in_a_row_and_not_before() {
        assert_eq!(verdicts(3, 1, "obbobbb"), "oooooob");
    }

    #[test]
    fn a_verdict_turns_good_after_pass_good_runs_in_a_row() {
        assert_eq!(verdicts(1, 2, "boboo"), "bbbbo");
        assert_eq!(verdicts(3, 2, "ooo"), "uoo", "and unknown comes first");
    }

    #[test]
    fn runs_without_an_answer_end_a_good_verdict_as_unknown() {
        assert_eq!(verdicts(2, 1, "ouu"), "oou");
        assert_eq!(
            verdicts(3, 1, "obub"),
            "ooou",
            "a mixture proves nothing bad"
        );
        assert_eq!(verdicts(3, 1, "obubbb"), "ooouub");
    }

    #[test]
    fn unknown_never_turns_into_good_by_itself() {
        assert_eq!(verdicts(1, 1, "uuu"), "uuu");
        assert_eq!(verdicts(2, 1, "bbuu"), "ubbu");
    }

    #[test]
    fn how_far_it_has_come_can_be_told() {
        let mut history = History::new(3, 1);
        history.add(Verdict::Ok);
        assert_eq!(history.pending(), None);
        history.add(Verdict::Bad);
        assert_eq!(history.pending().as_deref(), Some("1 of 3 failures"));
    }
}
