//! What writers have noted, and what must be true of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::{Host, Machine, Process};

/// The writer's program, as a host has it.
pub(crate) const PROGRAM: &str = "/opt/writer.py";

/// A write that was taken.
#[derive(Debug, Clone, PartialEq)]
struct Taken {
    sent: f64,
    answered: f64,
    /// The run id of the server that took it.
    server: String,
    /// Who wrote it.
    writer: String,
}

/// Writers that are at work.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    at_work: Vec<(String, Process)>,
}

impl Writers {
    /// One more writes from a host, every 10 ms.
    pub(crate) fn add(&mut self, host: &Host, address: &str) -> Result<()> {
        self.add_at(host, address, 6379)
    }

    /// The same at another port.
    pub(crate) fn add_at(&mut self, host: &Host, address: &str, port: u16) -> Result<()> {
        let name = format!("writer-{}", host.name());
        let argv = ["python3", PROGRAM, address, &port.to_string(), "0.01"];
        let process = host.spawn(&name, &argv)?;
        self.at_work.push((host.name().to_owned(), process));
        Ok(())
    }

    fn taken(&self) -> Result<Vec<Taken>> {
        let mut all = Vec::new();
        for (writer, process) in &self.at_work {
            let path: PathBuf = process.log().to_owned();
            let log = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            for line in log.lines() {
                let words: Vec<&str> = line.split(' ').collect();
                // The last line of a writer that was killed may be half of one.
                if let [sent, answered, server] = words.as_slice()
                    && let (Ok(sent), Ok(answered)) = (sent.parse(), answered.parse())
                    && server.len() == 40
                {
                    let (server, writer) = ((*server).to_owned(), writer.clone());
                    all.push(Taken {
                        sent,
                        answered,
                        server,
                        writer,
                    });
                }
            }
        }
        all.sort_by(|one, other| one.sent.total_cmp(&other.sent));
        Ok(all)
    }

    /// How many writes were taken so far.
    pub(crate) fn count(&self) -> Result<usize> {
        Ok(self.taken()?.len())
    }

    /// The server that took the last write.
    pub(crate) fn last_server(&self) -> Result<String> {
        let taken = self.taken()?;
        let last = taken.last().context("no write was taken")?;
        Ok(last.server.clone())
    }

    /// No server takes a write after another one has taken one that was sent later than its own first: two sides were never
    /// active at once, and nobody who was replaced came back as the one it was (invariant I1).
    pub(crate) fn never_two_at_once(&self) -> Result<()> {
        let taken = self.taken()?;
        ensure!(taken.len() > 50, "only {} writes were taken", taken.len());
        // By server: when its first write was answered.
        let mut first: BTreeMap<&str, f64> = BTreeMap::new();
        for write in &taken {
            let at = first.entry(&write.server).or_insert(write.answered);
            *at = at.min(write.answered);
        }
        for write in &taken {
            let own = first[write.server.as_str()];
            let later = first
                .iter()
                .find(|(other, at)| **other != write.server && **at > own && **at < write.sent);
            ensure!(
                later.is_none(),
                "{write:?} was taken by a server that had been replaced: {first:?}"
            );
        }
        Ok(())
    }

    /// For people: when each server took its first and its last write, in seconds from the first of all.
    pub(crate) fn story(&self) -> Result<String> {
        let taken = self.taken()?;
        let begin = taken.first().map_or(0.0, |write| write.sent);
        let mut spans: BTreeMap<&str, (f64, f64, usize)> = BTreeMap::new();
        for write in &taken {
            let span = spans
                .entry(&write.server)
                .or_insert((write.sent, write.sent, 0));
            span.1 = write.answered;
            span.2 += 1;
        }
        let mut spans: Vec<_> = spans.into_values().collect();
        spans.sort_by(|one, other| one.0.total_cmp(&other.0));
        let lines = spans.iter().map(|(first, last, count)| {
            format!(
                "{count} writes from {:.3} to {:.3}",
                first - begin,
                last - begin
            )
        });
        Ok(lines.collect::<Vec<_>>().join("; "))
    }

    /// The longest time in which nobody's write was taken.
    pub(crate) fn longest_gap(&self) -> Result<Duration> {
        let taken = self.taken()?;
        let mut answered: Vec<f64> = taken.iter().map(|write| write.answered).collect();
        answered.sort_by(f64::total_cmp);
        let gaps = answered.windows(2).map(|pair| pair[1] - pair[0]);
        Ok(Duration::from_secs_f64(gaps.fold(0.0, f64::max)))
    }
}
