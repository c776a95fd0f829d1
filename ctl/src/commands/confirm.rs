//! Asking before an act.
//!
//! What takes machines down is confirmed with the cluster's name, so that nobody does it in the wrong terminal; everything
//! else with a yes. Flags stand for the answers, and where nobody can be asked they are the only ones.

use std::io::{self, IsTerminal};

use crate::cli::Answer;
use crate::failure::Failure;
use crate::render::{Out, counted};

/// What is about to be done.
#[derive(Debug)]
pub(super) struct Act<'a> {
    /// The cluster that it is done to.
    pub(super) cluster: &'a str,
    /// How many machines it takes down.
    pub(super) machines: usize,
    /// Its name within a sentence: `this plan`.
    pub(super) name: &'a str,
    /// How it is called to do it: `start this plan`.
    pub(super) verb: &'a str,
    /// The question where a yes is enough: `Start 4 steps on shop?`
    pub(super) question: String,
}

/// Is this the cluster that the flags name, if they name one?
///
/// # Errors
/// If it is another one: then nothing may be done, and nothing said that would be taken for the other one's.
pub(super) fn is_meant(answer: &Answer, cluster: &str) -> Result<(), Failure> {
    match &answer.cluster {
        Some(said) if said != cluster => Err(Failure::Refused(format!(
            "--cluster says {said}, but the coordinator runs {cluster}: is it the right context? Nothing was done"
        ))),
        _ => Ok(()),
    }
}

impl Act<'_> {
    /// Asks, or takes the flags for the answer. Returns the cluster's name.
    ///
    /// # Errors
    /// If it is not confirmed, or the flags are about another cluster: then nothing may be done.
    pub(super) fn confirm(&self, answer: &Answer, out: Out) -> Result<String, Failure> {
        let Act {
            cluster,
            machines,
            name,
            verb,
            question,
        } = self;
        let (cluster, machines) = (*cluster, *machines);
        is_meant(answer, cluster)?;
        let named = answer.cluster.is_some();
        match (answer.yes, machines, named) {
            (true, 0, _) | (true, _, true) => return Ok(cluster.to_owned()),
            (true, _, false) => {
                return Err(Failure::Usage(format!(
                    "{name} takes {} down: --yes needs --cluster {cluster} for that. Nothing was done",
                    counted(machines, "machine")
                )));
            }
            (false, _, _) => {}
        }
        if !io::stdin().is_terminal() {
            let flags = if machines > 0 {
                format!("--yes --cluster {cluster}")
            } else {
                "--yes".to_owned()
            };
            return Err(Failure::Refused(format!(
                "nobody can be asked, since standard input is no terminal: say {flags} to {verb}. Nothing was done"
            )));
        }
        let confirmed = if machines > 0 && !named {
            let typed = out.ask(&format!(
                "This takes {} of {cluster} down. Type the cluster's name to go on: ",
                counted(machines, "machine")
            ))?;
            typed == cluster
        } else {
            let typed = out.ask(&format!("{question} [y/N] "))?;
            matches!(typed.as_str(), "y" | "Y" | "yes")
        };
        if confirmed {
            Ok(cluster.to_owned())
        } else {
            Err(Failure::Refused(
                "not confirmed: nothing was done".to_owned(),
            ))
        }
    }
}
