//! What writers have noted, and what must be true of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::{Host, Machine, Process};

/// The writer's program, as a host has it.
pub(crate) const PROGRAM: &str = "/opt/writer.py";

/// A row that was acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    sent: f64,
    acknowledged: f64,
    /// The node and the timeline of the server that took it.
    pub(crate) server: String,
    /// What was written.
    pub(crate) text: String,
}

/// Writers that are at work.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    at_work: Vec<Process>,
}

impl Writers {
    /// One more writes from a host to an address, every 10 ms.
    pub(crate) fn add(&mut self, host: &Host, address: &str) -> Result<()> {
        let name = format!("writer-{}", host.name());
        let process = host.spawn(&name, &["python3", PROGRAM, address, host.name(), "0.01"])?;
        self.at_work.push(process);
        Ok(())
    }

    /// All rows that were acknowledged, in the order in which they were sent.
    pub(crate) fn rows(&self) -> Result<Vec<Row>> {
        let mut all = Vec::new();
        for process in &self.at_work {
            let path = process.log();
            let log = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            for line in log.lines() {
                let words: Vec<&str> = line.split(' ').collect();
                // The last line of a writer that was killed may be a part of one: its row is not taken for acknowledged.
                if let [sent, acknowledged, server, text] = words.as_slice()
                    && let (Ok(sent), Ok(acknowledged)) = (sent.parse(), acknowledged.parse())
                    && server.contains('/')
                {
                    all.push(Row {
                        sent,
                        acknowledged,
                        server: (*server).to_owned(),
                        text: (*text).to_owned(),
                    });
                }
            }
        }
        all.sort_by(|one, other| one.sent.total_cmp(&other.sent));
        Ok(all)
    }

    /// How many were acknowledged so far.
    pub(crate) fn count(&self) -> Result<usize> {
        Ok(self.rows()?.len())
    }

    /// No server takes a row after another one has taken one that was sent later than its own first: two sides were never
    /// writable at once, and nobody who was replaced came back as the one it was (invariant I1).
    pub(crate) fn never_two_at_once(&self) -> Result<()> {
        let rows = self.rows()?;
        ensure!(
            rows.len() > 50,
            "only {} rows were acknowledged",
            rows.len()
        );
        let mut first: BTreeMap<&str, f64> = BTreeMap::new();
        for row in &rows {
            let at = first.entry(&row.server).or_insert(row.acknowledged);
            *at = at.min(row.acknowledged);
        }
        for row in &rows {
            let own = first[row.server.as_str()];
            let later = first
                .iter()
                .find(|(other, at)| **other != row.server && **at > own && **at < row.sent);
            ensure!(
                later.is_none(),
                "{row:?} was taken by a server that had been replaced: {first:?}"
            );
        }
        Ok(())
    }

    /// The acknowledged rows that are not among these.
    pub(crate) fn lost(&self, acknowledged: &[Row], there: &BTreeSet<String>) -> Vec<Row> {
        let lost = acknowledged.iter().filter(|row| !there.contains(&row.text));
        lost.cloned().collect()
    }

    /// For people: when each server took its first and its last row, in seconds from the first of all.
    pub(crate) fn story(&self) -> Result<String> {
        let rows = self.rows()?;
        let begin = rows.first().map_or(0.0, |row| row.sent);
        let mut spans: BTreeMap<&str, (f64, f64, usize)> = BTreeMap::new();
        for row in &rows {
            let span = spans.entry(&row.server).or_insert((row.sent, row.sent, 0));
            span.1 = row.acknowledged;
            span.2 += 1;
        }
        let mut spans: Vec<_> = spans.into_iter().collect();
        spans.sort_by(|(_, one), (_, other)| one.0.total_cmp(&other.0));
        let lines = spans.iter().map(|(server, (first, last, count))| {
            format!(
                "{server}: {count} rows from {:.3} to {:.3}",
                first - begin,
                last - begin
            )
        });
        Ok(lines.collect::<Vec<_>>().join("; "))
    }

    /// The longest time in which nobody's row was acknowledged.
    pub(crate) fn longest_gap(&self) -> Result<Duration> {
        let rows = self.rows()?;
        let mut at: Vec<f64> = rows.iter().map(|row| row.acknowledged).collect();
        at.sort_by(f64::total_cmp);
        let gaps = at.windows(2).map(|pair| pair[1] - pair[0]);
        Ok(Duration::from_secs_f64(gaps.fold(0.0, f64::max)))
    }
}
