//! Completion of commands and of live names.
//!
//! The shell's script calls this program back on every TAB. Live names are asked from the cluster then, those of steps
//! and gates of the operation that stands on the line; whatever goes wrong, or takes longer than a person waits
//! (`INTERLOCK_COMPLETION_TIMEOUT`), is silent and completes nothing.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::CommandFactory;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::Shells;
use interlock_model::action::Action;
use interlock_model::plan::SealedPlan;
use interlock_model::spec::Spec;

use super::{operation, spec, status};
use crate::cli::{Cli, Connection, Shell};
use crate::client::Client;
use crate::context::{self, Config};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::Out;

/// Longer than a round trip with its handshake, shorter than patience.
const PATIENCE: Duration = Duration::from_millis(800);

/// Where people, or a long way to the cluster, have another patience: a duration such as `3s`.
const PATIENCE_VARIABLE: &str = "INTERLOCK_COMPLETION_TIMEOUT";

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
    /// Steps that need a person, of the operation that stands on the line.
    Steps,
    /// Gates that wait, of the operation that stands on the line.
    Gates,
    /// Checks, as `SERVICE.CHECK`.
    Checks,
    /// Sides of exclusive services, as `SERVICE=NODE`.
    Sides,
    /// Labels of nodes, as `KEY=VALUE`.
    Labels,
    /// VM hosts.
    Hosts,
    /// Generations of the spec, the newest ones.
    Generations,
}

/// How many generations are offered.
const GENERATIONS: u64 = 20;

/// Flags of the commands that name an operation, as far as a value follows them.
const WITH_VALUE: [&str; 6] = [
    "--context",
    "--endpoint",
    "--tls-dir",
    "--reason",
    "--output",
    "-o",
];

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
    out.data(&with_whole_words(&String::from_utf8_lossy(&script)))?;
    Ok(Exit::Ok)
}

/// Bash breaks words at `=`, `:` and `@`, of which names of steps and sides have some: `stop:db@db1`, `db=db1`. Put in
/// where its script takes the words as they are broken; the scripts of other shells do not.
fn with_whole_words(script: &str) -> String {
    let broken = "    local words=(\"${COMP_WORDS[@]}\")\n    if [[ \"${BASH_VERSINFO[0]}\" -ge 4 ]]; then\n        \
                  words[COMP_CWORD]=\"$2\"\n    fi\n";
    let answered = "    elif [[ $_CLAP_COMPLETE_SPACE == false ]]";
    script.replacen(broken, WHOLE_WORDS, 1).replacen(
        answered,
        &format!("{BROKEN_ANSWER}{answered}"),
        1,
    )
}

/// Puts together what stands together on the line.
const WHOLE_WORDS: &str = r#"    local words=() word before rest="$COMP_LINE" last=-1
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        before="$rest"
        rest="${rest#"${rest%%[![:space:]]*}"}"
        if [[ $last -ge 0 && -n "$word" && "$before" == "$rest" ]]; then
            words[last]+="$word"
        else
            last=$((last + 1))
            words[last]="$word"
        fi
        rest="${rest#"$word"}"
    done
    _CLAP_COMPLETE_INDEX=$last
"#;

/// Of the answer bash wants what follows the last break.
const BROKEN_ANSWER: &str = r#"    elif [[ "${words[last]}" == *["${COMP_WORDBREAKS//[^=:@]/}"]* ]]; then
        word="${words[last]}"
        word="${word%"${word##*["${COMP_WORDBREAKS//[^=:@]/}"]}"}"
        COMPREPLY=("${COMPREPLY[@]#"$word"}")
"#;

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
        .filter(|name| name.starts_with(begun) && !name.contains(char::is_control))
        .map(|name| CompletionCandidate::new(format!("{before}{name}")))
        .collect()
}

fn ask(what: Live) -> Option<BTreeSet<String>> {
    let words: Vec<String> = std::env::args().collect();
    let connection = typed_connection(&words);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let asking = async {
        let client = context::coordinators(&connection)?.connect().await?;
        names(&client, what, typed_operation(&words)).await
    };
    let patience = given(PATIENCE_VARIABLE)
        .and_then(|text| humantime::parse_duration(&text).ok())
        .unwrap_or(PATIENCE);
    let answer = runtime.block_on(async { tokio::time::timeout(patience, asking).await });
    runtime.shutdown_background();
    answer.ok()?.ok()
}

async fn names(
    client: &Client,
    what: Live,
    operation: Option<&str>,
) -> Result<BTreeSet<String>, Failure> {
    match (what, operation) {
        (Live::Nodes | Live::Services | Live::Operations | Live::Generations, _) => {
            of_status(client, what).await
        }
        (Live::Checks | Live::Sides | Live::Labels | Live::Hosts, _) => {
            Ok(of_spec(&spec::applied(client).await?, what))
        }
        (Live::Steps | Live::Gates, None) => Ok(BTreeSet::new()),
        (Live::Steps | Live::Gates, Some(operation)) => of_operation(client, what, operation).await,
    }
}

async fn of_status(client: &Client, what: Live) -> Result<BTreeSet<String>, Failure> {
    let status = status::get(client).await?;
    let newest = status.generation;
    Ok(match what {
        Live::Nodes => status.nodes.into_iter().map(|it| it.node).collect(),
        Live::Services => status.services.into_iter().map(|it| it.service).collect(),
        Live::Generations => (newest.saturating_sub(GENERATIONS).max(1)..=newest)
            .map(|generation| generation.to_string())
            .collect(),
        _ => status
            .operations
            .into_iter()
            .map(|it| it.operation)
            .collect(),
    })
}

fn of_spec(spec: &Spec, what: Live) -> BTreeSet<String> {
    let services = spec.services.values();
    match what {
        Live::Checks => services
            .flat_map(|service| {
                let checks = service.checks.keys();
                checks.map(|check| format!("{}.{check}", service.name))
            })
            .collect(),
        Live::Sides => services
            .filter(|service| service.is_exclusive())
            .flat_map(|service| {
                let nodes = service.nodes.iter();
                nodes.map(|node| format!("{}={node}", service.name))
            })
            .collect(),
        Live::Labels => spec
            .nodes
            .values()
            .flat_map(|node| &node.labels)
            .map(|(key, value)| format!("{key}={value}"))
            .collect(),
        _ => spec.hosts.keys().map(ToString::to_string).collect(),
    }
}

async fn of_operation(
    client: &Client,
    what: Live,
    operation: &str,
) -> Result<BTreeSet<String>, Failure> {
    let found = operation::get(client, operation, false).await?;
    let in_state = |wanted: &'static [&str]| {
        let steps = found.steps.iter();
        steps.filter(move |step| wanted.contains(&step.state.as_str()))
    };
    if what == Live::Steps {
        let standing = in_state(&["blocked", "failed", "unknown", "undo-failed"]);
        return Ok(standing.map(|step| step.step.clone()).collect());
    }
    let waiting: BTreeSet<&str> = in_state(&["gated"]).map(|it| it.step.as_str()).collect();
    let plan = SealedPlan::open(found.plan_json.clone().into_bytes())
        .context("the plan cannot be read")?;
    let steps = plan.plan().steps.iter();
    Ok(steps
        .filter(|step| waiting.contains(step.id.as_str()))
        .filter_map(|step| match &step.action {
            Action::Approve { gate, .. } => Some(gate.to_string()),
            _ => None,
        })
        .collect())
}

/// The operation on the line that is being completed: the word behind the verb that needs one.
fn typed_operation(words: &[String]) -> Option<&str> {
    let verb = |word: &String| matches!(word.as_str(), "retry" | "skip" | "approve");
    let mut after = words.iter().skip_while(|word| !verb(word)).skip(1);
    while let Some(word) = after.next() {
        if WITH_VALUE.contains(&word.as_str()) {
            after.next();
        } else if !word.starts_with('-') {
            return Some(word)
                .filter(|word| !word.is_empty())
                .map(String::as_str);
        }
    }
    None
}

/// The connection flags on the line that is being completed: it cannot be parsed yet, since it is not finished.
fn typed_connection(words: &[String]) -> Connection {
    let mut connection = Connection {
        context: given("INTERLOCK_CONTEXT"),
        endpoint: given("INTERLOCK_ENDPOINT")
            .map(|text| list(&text))
            .unwrap_or_default(),
        tls_dir: given("INTERLOCK_TLS_DIR").map(PathBuf::from),
    };
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
        let connection = typed_connection(&words.map(ToOwned::to_owned));
        assert_eq!(connection.endpoint, ["a:1", "b:2"]);
        assert_eq!(connection.context.as_deref(), Some("x"));
    }

    #[test]
    fn the_operation_of_an_unfinished_line_is_the_word_behind_its_verb() {
        for (line, operation) in [
            ("interlockctl op retry op-7 ", Some("op-7")),
            (
                "interlockctl --context x op skip --reason why op-7 st",
                Some("op-7"),
            ),
            ("interlockctl approve ", None),
            ("interlockctl op show op-7 ", None),
        ] {
            let words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
            assert_eq!(typed_operation(&words), operation, "{line}");
        }
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
