//! A program under measurement: started, told where it listens, ended with this value.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::process::Process;

/// A running program that has said `listening on ADDRESS`.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Program {
    /// Starts it; what it logs goes to `log`.
    pub(crate) async fn start(mut command: Command, log: &Path) -> Result<Self> {
        let shown = format!("{:?}", command.as_std());
        let errors =
            std::fs::File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        let input = child.stdin.take().context("no standard input")?;
        let mut output = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let line = output.next_line().await?.unwrap_or_default();
        let address = line
            .strip_prefix("listening on ")
            .and_then(|address| address.parse().ok());
        let address = address.with_context(|| {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            format!("{shown} did not start: {}", said.trim())
        })?;
        Ok(Self {
            child,
            input,
            output,
            address,
        })
    }

    /// For its figures.
    pub(crate) fn process(&self) -> Result<Process> {
        self.child
            .id()
            .map(Process)
            .context("the program has ended")
    }

    /// Asks something in a line, and reads the line that answers.
    pub(crate) async fn ask(&mut self, question: &str) -> Result<String> {
        self.input.write_all(question.as_bytes()).await?;
        self.input.write_all(b"\n").await?;
        self.output
            .next_line()
            .await?
            .context("the program has ended")
    }

    /// Ends it as an operator would, and waits for its end.
    pub(crate) async fn end(mut self) -> Result<()> {
        let id = self
            .child
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?));
        if let Some(id) = id {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        }
        self.child.wait().await?;
        Ok(())
    }
}
