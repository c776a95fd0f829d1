//! What Enter answers in single steps: the step that was shown when it was pressed, and none that came after it.

use std::time::Instant;

/// The step that is shown to wait for a `next`, and since when.
#[derive(Debug, Default)]
pub(super) struct Prompt {
    shown: Option<(String, Instant)>,
    /// The step that was let begin, until the coordinator tells of another one.
    answered: String,
}

impl Prompt {
    /// This step, or none, is shown now.
    pub(super) fn shows(&mut self, step: Option<&str>, now: Instant) {
        let Some(step) = step else {
            self.shown = None;
            self.answered.clear();
            return;
        };
        if step == self.answered {
            return;
        }
        self.answered.clear();
        if self.shown.as_ref().is_none_or(|(shown, _)| shown != step) {
            self.shown = Some((step.to_owned(), now));
        }
    }

    /// The step that an Enter of then lets begin; none if it was pressed before that was shown, or nothing was.
    pub(super) fn answered(&mut self, at: Instant) -> Option<String> {
        let (step, _) = self.shown.take_if(|(_, since)| *since <= at)?;
        self.answered.clone_from(&step);
        Some(step)
    }

    /// The answer was not followed: if the step is still shown, another Enter may be.
    pub(super) fn refused(&mut self) {
        self.answered.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_enter_answers_only_what_was_shown_when_it_was_pressed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut prompt = Prompt::default();
        assert_eq!(prompt.answered(at(0)), None);
        prompt.shows(Some("stop:db@a"), at(2));
        assert_eq!(prompt.answered(at(1)), None, "it was not shown yet");
        prompt.shows(Some("stop:db@a"), at(3));
        assert_eq!(prompt.answered(at(2)).as_deref(), Some("stop:db@a"));
        // The coordinator has not told of it yet.
        prompt.shows(Some("stop:db@a"), at(4));
        assert_eq!(prompt.answered(at(5)), None, "once is enough");
        prompt.refused();
        prompt.shows(Some("stop:db@a"), at(6));
        assert_eq!(prompt.answered(at(5)), None, "it is asked anew");
        assert_eq!(prompt.answered(at(6)).as_deref(), Some("stop:db@a"));
        prompt.shows(None, at(6));
        assert_eq!(prompt.answered(at(7)), None, "while a step runs");
        prompt.shows(Some("power-off:a"), at(8));
        assert_eq!(prompt.answered(at(7)), None);
        assert_eq!(prompt.answered(at(9)).as_deref(), Some("power-off:a"));
    }
}
