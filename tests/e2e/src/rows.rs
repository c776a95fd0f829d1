//! What writers of rows have noted, and what must be true of it.
//!
//! A writer's program is the test's own. For each row that was acknowledged it prints when that was sent and when it was
//! acknowledged, by a clock that all hosts of a lab share, which server took it (`NAME/LINE`, of which the second part is
//! another one for each promotion), and the row.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::pair::SOON;
use crate::{Host, Machine, Process, eventually};
use anyhow::{Context as _, Result, ensure};

/// The writer's program, as a host has it.
pub const PROGRAM: &str = "/opt/writer.py";

/// A row that was acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// When it was sent, in seconds of `CLOCK_MONOTONIC`.
    pub sent: f64,
    /// When it was acknowledged.
    pub acknowledged: f64,
    /// The node and the timeline of the server that took it.
    pub server: String,
    /// What was written.
    pub text: String,
}

/// Writers that are at work.
#[derive(Debug, Default)]
pub struct Writers {
    at_work: Vec<Process>,
    /// How many each host has had.
    earlier: BTreeMap<String, usize>,
}

impl Writers {
    /// One more writes from a host to an address, every 10 ms.
    ///
    /// # Errors
    /// If its program cannot be run.
    pub fn add(&mut self, host: &Host, address: &str) -> Result<()> {
        // A host that was off has another one afterwards, whose rows are others.
        let earlier = self.earlier.entry(host.name().to_owned()).or_default();
        let own = match *earlier {
            0 => host.name().to_owned(),
            number => format!("{}.{number}", host.name()),
        };
        *earlier += 1;
        let name = format!("writer-{own}");
        let process = host.spawn(&name, &["python3", PROGRAM, address, &own, "0.01"])?;
        self.at_work.push(process);
        Ok(())
    }

    /// This process is one more: its output is that of a writer.
    pub fn add_process(&mut self, process: Process) {
        self.at_work.push(process);
    }

    /// All rows that were acknowledged, in the order in which they were sent.
    ///
    /// # Errors
    /// If a log cannot be read.
    pub fn rows(&self) -> Result<Vec<Row>> {
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

    /// The server that took the last one.
    ///
    /// # Errors
    /// If there is none, or a log cannot be read.
    pub fn last_server(&self) -> Result<String> {
        let rows = self.rows()?;
        let last = rows.last().context("no row was acknowledged")?;
        Ok(last.server.clone())
    }

    /// How many were acknowledged so far.
    ///
    /// # Errors
    /// If a log cannot be read.
    pub fn count(&self) -> Result<usize> {
        Ok(self.rows()?.len())
    }

    /// Waits until so many more are acknowledged.
    ///
    /// # Errors
    /// If they are not.
    pub fn wait_more(&self, more: usize) -> Result<()> {
        let before = self.count()?;
        eventually("rows", SOON, || {
            let count = self.count()?;
            ensure!(count > before + more, "{count} after {before}");
            Ok(())
        })
    }

    /// No server takes a row after another one has taken one that was sent later than its own first: two sides were never
    /// writable at once, and nobody who was replaced came back as the one it was (invariant I1).
    ///
    /// # Errors
    /// If it is not so.
    pub fn never_two_at_once(&self) -> Result<()> {
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
    #[must_use]
    pub fn lost(&self, acknowledged: &[Row], there: &BTreeSet<String>) -> Vec<Row> {
        let lost = acknowledged.iter().filter(|row| !there.contains(&row.text));
        lost.cloned().collect()
    }

    /// For people: when each server took its first and its last row, in seconds from the first of all.
    ///
    /// # Errors
    /// If a log cannot be read.
    pub fn story(&self) -> Result<String> {
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
    ///
    /// # Errors
    /// If a log cannot be read.
    pub fn longest_gap(&self) -> Result<Duration> {
        let rows = self.rows()?;
        let mut at: Vec<f64> = rows.iter().map(|row| row.acknowledged).collect();
        at.sort_by(f64::total_cmp);
        let gaps = at.windows(2).map(|pair| pair[1] - pair[0]);
        Ok(Duration::from_secs_f64(gaps.fold(0.0, f64::max)))
    }
}
