//! The journal of an operation, as a witness of its order.
//!
//! Entries are in the order in which they became durable, so that one that stands before another happened before it.
//! Orders are asserted by position; times, which are the coordinator's own, only where a span is meant.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// One line of the journal.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The step that it is about; empty if it is about the whole operation.
    pub step: String,
    /// The entry as a word: intent, reached, proven, failed, turned, ...
    pub what: String,
    /// The wait condition that was reached, if it says that: issued, going-down, down, up, healthy.
    pub until: String,
    /// What was seen, in words.
    pub detail: String,
}

/// All entries of one operation.
#[derive(Debug, Clone)]
pub struct Journal {
    operation: String,
    entries: Vec<Entry>,
}

impl Journal {
    /// Reads what `interlockctl operation journal -o json` prints.
    pub(super) fn read(operation: &str, printed: &Value) -> Result<Self> {
        let list = printed.as_array().context("the journal is no list")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entries = list
            .iter()
            .map(|entry| Entry {
                step: text(&entry["step"]),
                what: text(&entry["what"]),
                until: text(&entry["entry"]["until"]),
                detail: text(&entry["detail"]),
            })
            .collect();
        Ok(Self {
            operation: operation.to_owned(),
            entries,
        })
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether anything of this step was ever begun.
    pub fn began(&self, step: &str) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.step == step && entry.what == "intent")
    }

    /// Where the (last) attempt of a step was dispatched.
    ///
    /// # Errors
    ///
    /// It never was.
    pub fn intent(&self, step: &str) -> Result<usize> {
        self.position(step, "its intent", |entry| entry.what == "intent")
    }

    /// Where a step reached a wait condition: `issued`, `going-down`, `down`, `up` or `healthy`. The proof of a step
    /// stands for *down* or *up*, and for everything before that if the step had nothing to do.
    ///
    /// # Errors
    ///
    /// It never did.
    pub fn reached(&self, step: &str, until: &str) -> Result<usize> {
        let wanted = format!("that it reached {until}");
        let said = self.position(step, &wanted, |entry| {
            entry.what == "reached" && entry.until == until
        });
        match until {
            "healthy" => said,
            _ => said.or_else(|_| self.position(step, &wanted, |entry| entry.what == "proven")),
        }
    }

    /// The entry that proves a step.
    ///
    /// # Errors
    ///
    /// It was not proven exactly once.
    pub fn proof(&self, step: &str) -> Result<&Entry> {
        let mut proofs = self
            .entries
            .iter()
            .filter(|entry| entry.step == step && entry.what == "proven");
        let first = proofs
            .next()
            .with_context(|| format!("{step} is not proven in\n{self}"))?;
        ensure!(proofs.next().is_none(), "{step} is proven twice in\n{self}");
        Ok(first)
    }

    /// Asserts that `later` was dispatched only after `earlier` had reached `until`.
    ///
    /// # Errors
    ///
    /// It was not so, or one of them never happened.
    pub fn waited(&self, later: &str, earlier: &str, until: &str) -> Result<()> {
        let (reached, intent) = (self.reached(earlier, until)?, self.intent(later)?);
        ensure!(
            reached < intent,
            "{later} did not wait until {earlier} was {until}:\n{self}"
        );
        Ok(())
    }

    /// Asserts that `later` was dispatched when `earlier` had not yet reached `until`: that edge did not hold it up.
    ///
    /// # Errors
    ///
    /// It waited, or one of them never happened.
    pub fn did_not_wait(&self, later: &str, earlier: &str, until: &str) -> Result<()> {
        let (reached, intent) = (self.reached(earlier, until)?, self.intent(later)?);
        ensure!(
            intent < reached,
            "{later} waited until {earlier} was {until}:\n{self}"
        );
        Ok(())
    }

    fn position(
        &self,
        step: &str,
        wanted: &str,
        matches: impl Fn(&Entry) -> bool,
    ) -> Result<usize> {
        let found = self
            .entries
            .iter()
            .rposition(|entry| entry.step == step && matches(entry));
        found.with_context(|| format!("{step}: the journal lacks {wanted}:\n{self}"))
    }
}

impl std::fmt::Display for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}:", self.operation)?;
        for Entry {
            step, what, detail, ..
        } in &self.entries
        {
            writeln!(f, "  {what:9} {step:22} {detail}")?;
        }
        Ok(())
    }
}
