//! `operation retry` without a step: all that failed, shown before.
//!
//! One request for each step: the journal has who asked for which, and a step that is decided meanwhile refuses only its own.

use std::io::{self, IsTerminal as _};

use super::operation::{get, show_after, verb};
use crate::cli::{Format, Retry};
use crate::client::{Client, SHORT};
use crate::failure::{Failure, Outcome};
use crate::follow::needs_person;
use crate::render::{Out, clean, counted};

/// Retries every step that needs a person. `--all` is the confirmation; otherwise somebody is asked, where there is more
/// than one.
pub(super) async fn all(client: &Client, args: &Retry, out: Out) -> Outcome {
    let found = get(client, &args.operation, true).await?;
    let name = clean(&found.summary.clone().unwrap_or_default().operation);
    let failed: Vec<_> = found
        .steps
        .iter()
        .filter(|step| needs_person(&step.state))
        .collect();
    if failed.is_empty() {
        return Err(Failure::Refused(format!(
            "no step of {name} has failed: there is nothing to retry. Nothing was done"
        )));
    }
    let lines: Vec<String> = failed
        .iter()
        .map(|it| {
            format!(
                "  {}  {}: {}",
                clean(&it.step),
                clean(&it.state),
                clean(&it.evidence)
            )
        })
        .collect();
    let counted = counted(failed.len(), "step");
    let list = format!("{counted} of {name} to try again:\n{}", lines.join("\n"));
    match args.output.output {
        Format::Table => out.data(&format!("{list}\n"))?,
        _ => out.say(&list)?,
    }
    if !args.all && failed.len() > 1 {
        confirm(&counted, &name, out)?;
    }
    let look = format!("interlockctl operation show {}", args.operation);
    let mut after = None;
    for (done, it) in failed.iter().enumerate() {
        let request = verb("retry", &args.operation, &it.step, &args.reason);
        let mut operations = client.operations();
        let call = operations.control_operation(request);
        let doing = format!("retry {}", it.step);
        match client.change(&doing, &look, SHORT, call).await {
            Ok(now) => after = Some(now),
            Err(failure) => {
                out.say(&format!("{done} of {counted} are tried again"))?;
                return Err(failure.into());
            }
        }
    }
    show_after(&after.unwrap_or(found), false, args.output, out)
}

fn confirm(counted: &str, name: &str, out: Out) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Refused(
            "nobody can be asked, since standard input is no terminal: name the step, or say --all to retry all of them. \
             Nothing was done"
                .to_owned(),
        ));
    }
    let typed = out.ask(&format!("Retry {counted} of {name}? [y/N] "))?;
    match typed.as_str() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Refused(
            "not confirmed: nothing was done".to_owned(),
        )),
    }
}
