//! Completion of commands and of live names.
//!
//! The shell's script calls this program back on every TAB. Names of nodes, services, operations and steps are asked
//! from the cluster then; whatever goes wrong, or takes longer than a person waits, is silent and completes nothing.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::CommandFactory;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::Shells;
use interlock_proto::v1;

use crate::cli::{Cli, Connection, Shell};
use crate::client::{Client, SHORT};
use crate::context::{self, Config};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::Out;

/// Longer than a round trip with its handshake, shorter than patience.
const PATIENCE: Duration = Duration::from_millis(800);

/// The variable by which the script tells this program that it is asked for completions.
const VARIABLE: &str = "COMPLETE";

/// Names that only the cluster knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Live {
    /// Nodes.
    Nodes,
    /// Services.
    Services,
    /// Operations that are not over.
    Operations,
    /// Steps that need a person.
    Steps,
}

/// Prints the script of a shell.
pub(super) fn print(shell: Shell, out: Out) -> Outcome {
    let shells = Shells::builtins();
    let known = shells
        .completer(shell.name())
        .with_context(|| format!("there are no completions for {}", shell.name()))?;
    let name = Cli::command().get_name().to_owned();
    let mut script = Vec::new();
    known
        .write_registration(VARIABLE, &name, &name, &name, &mut script)
        .context("cannot make the script")?;
    out.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}

/// Names of contexts that begin with `current`.
pub(crate) fn contexts(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = Config::load().map(|config| config.contexts.into_keys().collect());
    candidates(&names.unwrap_or_default(), current)
}

/// Live names that begin with `current`.
pub(crate) fn live(what: Live, current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(&ask(what).unwrap_or_default(), current)
}

fn candidates(names: &BTreeSet<String>, current: &OsStr) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    // Of a list with commas the last one is being typed.
    let (before, begun) = match typed.rsplit_once(',') {
        Some((before, begun)) => (format!("{before},"), begun),
        None => (String::new(), typed.as_ref()),
    };
    names
        .iter()
        .filter(|name| name.starts_with(begun))
        .map(|name| CompletionCandidate::new(format!("{before}{name}")))
        .collect()
}

fn ask(what: Live) -> Option<BTreeSet<String>> {
    let connection = typed_connection(std::env::args());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let asking = async {
        let client = context::coordinators(&connection)?.connect().await?;
        names(&client, what).await
    };
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, asking).await });
    runtime.shutdown_background();
    answer.ok()?.ok()
}

async fn names(client: &Client, what: Live) -> Result<BTreeSet<String>, Failure> {
    let mut cluster = client.cluster();
    let status = client
        .call(
            "read the status",
            SHORT,
            cluster.get_status(v1::GetStatusRequest {}),
        )
        .await?;
    let operations = status.operations.into_iter().map(|it| it.operation);
    Ok(match what {
        Live::Nodes => status.nodes.into_iter().map(|it| it.node).collect(),
        Live::Services => status.services.into_iter().map(|it| it.service).collect(),
        Live::Operations => operations.collect(),
        Live::Steps => {
            let mut steps = BTreeSet::new();
            for operation in operations {
                let request = v1::GetOperationRequest {
                    operation,
                    brief: true,
                };
                let mut service = client.operations();
                let found = client
                    .call("show the operation", SHORT, service.get_operation(request))
                    .await?;
                let standing = found.steps.into_iter().filter(|step| {
                    matches!(
                        step.state.as_str(),
                        "blocked" | "failed" | "unknown" | "undo-failed"
                    )
                });
                steps.extend(standing.map(|step| step.step));
            }
            steps
        }
    })
}

/// The connection flags on the line that is being completed: it cannot be parsed yet, since it is not finished.
fn typed_connection(words: impl Iterator<Item = String>) -> Connection {
    let mut connection = Connection {
        context: given("INTERLOCK_CONTEXT"),
        endpoint: given("INTERLOCK_ENDPOINT")
            .map(|text| list(&text))
            .unwrap_or_default(),
        tls_dir: given("INTERLOCK_TLS_DIR").map(PathBuf::from),
    };
    let words: Vec<String> = words.collect();
    for (index, word) in words.iter().enumerate() {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (word.as_str(), words.get(index + 1).map(String::as_str)),
        };
        match (flag, value) {
            ("--context", Some(value)) => connection.context = Some(value.to_owned()),
            ("--endpoint", Some(value)) => connection.endpoint = list(value),
            ("--tls-dir", Some(value)) => connection.tls_dir = Some(PathBuf::from(value)),
            _ => {}
        }
    }
    connection
}

fn given(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|text| !text.is_empty())
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_an_unfinished_line_are_heeded() {
        let words = [
            "--",
            "interlockctl",
            "--endpoint=a:1,b:2",
            "node",
            "show",
            "--context",
            "x",
        ];
        let connection = typed_connection(words.into_iter().map(ToOwned::to_owned));
        assert_eq!(connection.endpoint, ["a:1", "b:2"]);
        assert_eq!(connection.context.as_deref(), Some("x"));
    }

    #[test]
    fn the_last_of_a_list_is_completed() {
        let names = ["jb1", "jb2", "dbm1"].map(ToOwned::to_owned).into();
        let found: Vec<_> = candidates(&names, OsStr::new("dbm1,jb"))
            .iter()
            .map(|one| one.get_value().to_string_lossy().into_owned())
            .collect();
        assert_eq!(found, ["dbm1,jb1", "dbm1,jb2"]);
    }
}
