//! What a process costs, from proc(5).

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

/// What `sysconf(_SC_CLK_TCK)` says on Linux (times(2)): ticks per second.
const TICKS: u64 = 100;

/// A process of which figures are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

/// Memory of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// What is resident, shared pages included, in KiB.
    pub(crate) rss: f64,
    /// The same with shared pages shared out, in KiB.
    pub(crate) pss: f64,
}

impl Process {
    /// This process.
    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }

    /// What is resident now.
    pub(crate) fn memory(self) -> Result<Memory> {
        let text = self.read("smaps_rollup")?;
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
                .with_context(|| format!("/proc/{}/smaps_rollup has no {name}", self.0))
        };
        Ok(Memory {
            rss: field("Rss:")?,
            pss: field("Pss:")?,
        })
    }

    /// The share of one core that it uses, with its children that end meanwhile, in percent.
    pub(crate) async fn share(self, during: Duration) -> Result<f64> {
        let (begin, before) = (Instant::now(), self.cpu()?);
        tokio::time::sleep(during).await;
        let used = self.cpu()?.saturating_sub(before);
        Ok(used.as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0)
    }

    /// The time on a core so far: of itself to the nanosecond, of its ended children to the kernel's tick.
    pub(crate) fn cpu(self) -> Result<Duration> {
        Ok(self.own_cpu()? + self.childrens_cpu()?)
    }

    fn own_cpu(self) -> Result<Duration> {
        if self.0 == std::process::id() {
            // Its threads may be a thousand, and some have ended.
            let spent = clock_gettime(ClockId::ProcessCPUTime);
            return Ok(Duration::try_from(spent)?);
        }
        let mut own = 0;
        let tasks = format!("/proc/{}/task", self.0);
        for task in fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))? {
            // A thread may end between being listed and being read.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            let spent = text.split_whitespace().next().unwrap_or_default();
            own += spent.parse::<u64>().unwrap_or_default();
        }
        Ok(Duration::from_nanos(own))
    }

    fn childrens_cpu(self) -> Result<Duration> {
        let stat = self.read("stat")?;
        // The second field is the name in parentheses, and may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = fields
            .split_whitespace()
            .skip(13)
            .take(2)
            .map(|field| field.parse().unwrap_or(0))
            .sum();
        Ok(Duration::from_millis(ticks.saturating_mul(1000) / TICKS))
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}
