//! What a run did: each step with its time, and everything that was left out.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Collects steps and skips; nothing that was left out is left unsaid.
#[derive(Debug)]
pub(crate) struct Report {
    steps: Vec<(String, Outcome, Duration)>,
    skips: Vec<String>,
    /// Tests that passed only when they were tried again.
    flaky: Vec<String>,
    /// The file to which tests append their skips.
    list: PathBuf,
}

/// How a step ended.
#[derive(Debug)]
enum Outcome {
    Passed,
    Failed(anyhow::Error),
}

impl Report {
    /// An empty report, whose tests will append to `list`.
    pub(crate) fn new(list: PathBuf) -> Result<Self> {
        if let Some(parent) = list.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        std::fs::write(&list, "").with_context(|| format!("cannot write {}", list.display()))?;
        Ok(Self {
            steps: Vec::new(),
            skips: Vec::new(),
            flaky: Vec::new(),
            list,
        })
    }

    /// Where tests note their skips.
    pub(crate) fn list(&self) -> &PathBuf {
        &self.list
    }

    /// Runs a step. A failure is kept for the end; the later steps run all the same.
    pub(crate) fn step(&mut self, name: &str, step: impl FnOnce(&mut Self) -> Result<()>) {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        let outcome = match step(self) {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                eprintln!("{name} failed: {error:#}");
                Outcome::Failed(error)
            }
        };
        self.steps.push((name.to_owned(), outcome, start.elapsed()));
    }

    /// Notes that `what` is left out, and why.
    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        let line = format!("SKIPPED: {what}: {why}");
        eprintln!("{line}");
        self.skips.push(line);
    }

    /// Notes that a test passed only when it was tried again.
    pub(crate) fn flaky(&mut self, test: &str) {
        self.flaky.push(test.to_owned());
    }

    /// Prints the whole report and says whether every step passed.
    pub(crate) fn close(mut self) -> Result<bool> {
        let noted = std::fs::read_to_string(&self.list)
            .with_context(|| format!("cannot read {}", self.list.display()))?;
        for line in noted.lines() {
            if !self.skips.iter().any(|skip| skip == line) {
                self.skips.push(line.to_owned());
            }
        }
        println!("\n=== cargo xtask test");
        let mut passed = true;
        for (name, outcome, took) in &self.steps {
            match outcome {
                Outcome::Passed => println!("ok      {:>6.1} s  {name}", took.as_secs_f64()),
                Outcome::Failed(error) => {
                    passed = false;
                    println!("FAILED  {:>6.1} s  {name}: {error:#}", took.as_secs_f64());
                }
            }
        }
        if self.skips.is_empty() {
            println!("Nothing was skipped.");
        }
        for skip in &self.skips {
            println!("{skip}");
        }
        for test in &self.flaky {
            println!("FLAKY: {test}: it failed, and passed at a later try: look at it");
        }
        Ok(passed)
    }
}
