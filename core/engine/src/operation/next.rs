//! Single steps: which steps a person lets begin.
//!
//! A `next` is for one step, whose turn has come, and for no other: five of them sent at once are one step and four errors, and
//! not four steps at which nobody has looked. Who does not name the step has the first that waits for nothing else, or else
//! the first whose gates are still looked at; and has none while another one is under way, for that is where whoever has just
//! sent a `next` is. A step that begins beside others is named. It then begins when its gates are green, within its limit, and
//! keeps nobody from letting others begin. What was let begin and has not is forgotten when the operation is paused or needs
//! attention.

use interlock_model::action::Action;
use interlock_model::plan::StepId;
use interlock_model::time::Timestamp;

use super::attempt::humantime;
use super::{Operation, Phase, Refused, State, Verb};

/// What a step waits for that waits for nothing else.
pub(super) const YOUR_NEXT: &str = "your `next`";

/// How many steps an error tells of.
const TOLD: usize = 3;

impl Operation {
    /// Does a person have to let this step begin, and has not?
    pub(super) fn awaits_next(&self, at: usize) -> bool {
        self.single_step && !self.granted.contains(&at) && self.steps[at].attempt.0 == 0
    }

    /// Does a step wait for nothing but a person's `next`?
    #[must_use]
    pub fn is_offered(&self, step: &StepId) -> bool {
        self.state == State::Running
            && self
                .index
                .get(step)
                .is_some_and(|&at| self.live[at].offered && self.has_its_turn(at))
    }

    /// The step that a `next` lets begin now.
    pub(super) fn steps_next(&self, step: Option<&str>) -> Result<usize, Refused> {
        let refused = |why: String| Refused::Next {
            operation: self.id.to_string(),
            why,
        };
        let named = step.map(|step| self.find(Some(step))).transpose()?;
        let awaited = match named {
            Some(at) => self.granted.get(&at),
            None => self.granted.first(),
        };
        if let Some(&at) = awaited {
            return Err(refused(self.told_of_granted(at)));
        }
        if let Some(at) = named {
            let (id, phase) = (&self.step(at).id, self.steps[at].phase);
            return match self.has_its_turn(at) {
                true => Ok(at),
                false if phase != Phase::Waiting || self.steps[at].attempt.0 > 0 => Err(refused(
                    format!("{id} has begun already, and is {phase}; {}", self.told()),
                )),
                false => Err(refused(format!("{id}: {}", self.waiting(at)))),
            };
        }
        let mut under_way = self.steps.iter();
        if under_way.any(|step| matches!(step.phase, Phase::Running | Phase::Checking)) {
            return Err(refused(format!(
                "{}; wait for that, or name the step that is to begin beside it",
                self.told()
            )));
        }
        let waits = || (0..self.steps.len()).filter(|at| self.has_its_turn(*at));
        let first = waits().find(|at| self.live[*at].offered);
        first
            .or_else(|| waits().next())
            .ok_or_else(|| refused(self.told()))
    }

    /// Who has let a step begin that has not, and what it waits for.
    fn told_of_granted(&self, at: usize) -> String {
        let id = &self.step(at).id;
        let mut asked = self.asked.iter().rev();
        let by = asked.find(|it| it.verb == Verb::Next && it.step.as_ref() == Some(id));
        let by = by.map_or("somebody", |asked| &asked.by);
        format!("{by} has let {id} begin, {}", self.waiting(at))
    }

    /// Who has paused it, where that keeps single steps from going on.
    pub(super) fn is_paused_by_a_person(&self, now: Timestamp) -> Option<Refused> {
        let is_paused = matches!(self.state, State::Pausing | State::Paused);
        let pauses = self.asked.iter().rev().find(|it| it.verb == Verb::Pause);
        pauses
            .filter(|_| is_paused && self.single_step)
            .map(|it| Refused::Paused {
                operation: self.id.to_string(),
                state: self.state,
                by: it.by.clone(),
                since: humantime(now.since(it.at)),
                why: match it.reason.as_str() {
                    "" => String::new(),
                    reason => format!(" ({reason})"),
                },
            })
    }

    fn has_its_turn(&self, at: usize) -> bool {
        self.is_gated(&self.step(at).id)
            && self.awaits_next(at)
            && !matches!(self.step(at).action, Action::Approve { .. })
    }

    /// What is under way or has its turn, and what it waits for.
    fn told(&self) -> String {
        let is_open = |at: &usize| {
            let phase = self.steps[*at].phase;
            matches!(phase, Phase::Running | Phase::Checking)
                || phase == Phase::Waiting && self.is_gated(&self.step(*at).id)
        };
        let open: Vec<usize> = (0..self.steps.len()).filter(is_open).collect();
        let told = open.iter().take(TOLD).map(|&at| {
            let (id, phase) = (&self.step(at).id, self.steps[at].phase);
            format!("{id} is {phase}, {}", self.waiting(at))
        });
        let told: Vec<String> = told.collect();
        match (told.as_slice(), open.len().saturating_sub(TOLD)) {
            ([], _) => "no step has its turn".to_owned(),
            (told, 0) => told.join("; "),
            (told, more) => format!("{}; and {more} more", told.join("; ")),
        }
    }

    fn waiting(&self, at: usize) -> String {
        let id: &StepId = &self.step(at).id;
        match self.waits_for(id).as_str() {
            "" => "which has not been looked at yet".to_owned(),
            waits => format!("which waits for {waits}"),
        }
    }
}
