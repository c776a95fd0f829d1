//! How many steps are where: what a pass asks about a thousand steps at every message.

use super::Phase;

/// How many of an operation's steps are in the phases that decide about the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Attempts under way.
    pub(super) in_flight: usize,
    /// Of these, to take a step back.
    pub(super) undoing: usize,
    /// A person has to decide.
    pub(super) needing: usize,
    /// Nothing will happen to them any more.
    pub(super) settled: usize,
}

impl Tally {
    /// A step has gone from one phase to another.
    pub(super) fn turned(&mut self, from: Phase, to: Phase) {
        if from == to {
            return;
        }
        for count in self.of(from) {
            *count -= 1;
        }
        for count in self.of(to) {
            *count += 1;
        }
    }

    /// Where a step of this phase counts.
    fn of(&mut self, phase: Phase) -> impl Iterator<Item = &mut usize> {
        [
            (phase.in_flight(), &mut self.in_flight),
            (phase == Phase::Undoing, &mut self.undoing),
            (phase.needs_person(), &mut self.needing),
            (phase.is_settled(), &mut self.settled),
        ]
        .into_iter()
        .filter_map(|(counts, count)| counts.then_some(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Phase; 11] = [
        Phase::Waiting,
        Phase::Blocked,
        Phase::Running,
        Phase::Checking,
        Phase::Done,
        Phase::Failed,
        Phase::Unknown,
        Phase::Skipped,
        Phase::Undoing,
        Phase::Undone,
        Phase::UndoFailed,
    ];

    #[test]
    fn a_step_counts_where_it_is_and_nowhere_else() {
        let mut tally = Tally::default();
        let mut at = Phase::Waiting;
        for from in ALL {
            for to in ALL {
                for next in [from, to] {
                    tally.turned(at, next);
                    at = next;
                    let count = |counts: bool| usize::from(counts);
                    let whole = Tally {
                        in_flight: count(at.in_flight()),
                        undoing: count(at == Phase::Undoing),
                        needing: count(at.needs_person()),
                        settled: count(at.is_settled()),
                    };
                    assert_eq!(tally, whole, "{at}");
                }
            }
        }
    }
}
