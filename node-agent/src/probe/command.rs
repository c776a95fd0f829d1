//! A command of the agent's own file that exits with 0.

use std::pin::Pin;
use std::time::Duration;

use interlock_model::check::ProbeResult;
use interlock_model::names::LocalName;

use super::outcome::{self, bad, ok, unknown};

/// What a command left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutput {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed, bounded by the runner.
    pub output: String,
}

/// Runs the check commands that the agent's own file defines. Implemented by the part of the agent that executes
/// commands; probes know only names.
pub trait CommandRunner: Send + Sync {
    /// Runs the named command, and kills it and all that it started when `limit` passes or the future is dropped.
    ///
    /// The error is one line for people: the command is not defined, could not be started, or reached its limit.
    fn run<'r>(&'r self, name: &'r LocalName, limit: Duration) -> Running<'r>;
}

/// A command that runs.
pub type Running<'r> = Pin<Box<dyn Future<Output = Result<CommandOutput, String>> + Send + 'r>>;

pub(super) async fn probe(
    runner: &dyn CommandRunner,
    name: &LocalName,
    limit: Duration,
) -> ProbeResult {
    match runner.run(name, limit).await {
        Ok(CommandOutput {
            code: Some(0),
            output,
        }) => ok(said(name, "exit code 0", &output)),
        Ok(CommandOutput {
            code: Some(code),
            output,
        }) => bad(said(name, &format!("exit code {code}"), &output)),
        Ok(CommandOutput { code: None, output }) => {
            unknown(said(name, "killed by a signal", &output))
        }
        Err(why) => unknown(format!("{name}: {why}")),
    }
}

/// What the command prints, to be compared between nodes. Short, or a digest would have to stand for it.
pub(super) async fn same(
    runner: &dyn CommandRunner,
    name: &LocalName,
    limit: Duration,
) -> ProbeResult {
    let result = match runner.run(name, limit).await {
        Ok(CommandOutput {
            code: Some(0),
            output,
        }) if !output.trim().is_empty() => {
            let printed = outcome::line(&output);
            return ProbeResult {
                value: Some(printed.clone()),
                ..ok(format!("{name} says {printed}"))
            };
        }
        Ok(CommandOutput { code: Some(0), .. }) => "it printed nothing".to_owned(),
        Ok(CommandOutput { code, output }) => {
            let end = code.map_or_else(
                || "killed by a signal".to_owned(),
                |code| format!("exit code {code}"),
            );
            return unknown(said(name, &end, &output));
        }
        Err(why) => why,
    };
    unknown(format!("{name}: {result}"))
}

fn said(name: &LocalName, end: &str, output: &str) -> String {
    let separator = if output.trim().is_empty() { "" } else { ": " };
    format!("{name}: {end}{separator}{}", output.trim())
}

#[cfg(test)]
mod tests {
    use interlock_model::check::Verdict;

    use super::*;

    struct Scripted(Result<CommandOutput, String>);

    impl CommandRunner for Scripted {
        fn run<'r>(&'r self, _: &'r LocalName, _: Duration) -> Running<'r> {
            Box::pin(async { self.0.clone() })
        }
    }

    #[tokio::test]
    async fn only_exit_code_0_is_good_and_a_command_that_did_not_end_is_unknown() {
        let ended = |code| {
            Ok(CommandOutput {
                code,
                output: "master_link_status:down\n".to_owned(),
            })
        };
        for (outcome, verdict, evidence) in [
            (
                ended(Some(0)),
                Verdict::Ok,
                "role: exit code 0: master_link_status:down",
            ),
            (
                ended(Some(1)),
                Verdict::Bad,
                "role: exit code 1: master_link_status:down",
            ),
            (
                ended(None),
                Verdict::Unknown,
                "role: killed by a signal: master_link_status:down",
            ),
            (
                Err("not defined".to_owned()),
                Verdict::Unknown,
                "role: not defined",
            ),
        ] {
            let result = probe(
                &Scripted(outcome),
                &"role".parse().unwrap(),
                Duration::from_secs(1),
            )
            .await;
            assert_eq!((result.verdict, &*result.evidence), (verdict, evidence));
        }
    }
}
