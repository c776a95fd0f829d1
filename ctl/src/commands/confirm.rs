//! Asking before an act.
//!
//! What takes machines down is confirmed with the cluster's name, so that nobody does it in the wrong terminal; what loses writes
//! with the name of their service; everything else with a yes. Flags stand for the answers, and where nobody can be asked they are
//! the only ones.

use std::io::{self, IsTerminal};

use interlock_model::names::ServiceName;

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
    /// The service of which it loses writes, if it does.
    pub(super) loses: Option<&'a str>,
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
            loses,
            name,
            verb,
            question,
        } = self;
        let (cluster, machines) = (*cluster, *machines);
        is_meant(answer, cluster)?;
        if let Some(service) = loses {
            return self.confirm_loss(service, answer, out);
        }
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

    /// What loses writes is confirmed with the name of their service, and nothing else.
    fn confirm_loss(&self, service: &str, answer: &Answer, out: Out) -> Result<String, Failure> {
        let Act { name, verb, .. } = self;
        let said = answer.service.as_ref().map(ServiceName::as_str);
        if let Some(other) = said.filter(|said| *said != service) {
            return Err(Failure::Refused(format!(
                "--lose-writes-of says {other}, and {name} loses writes of {service}. Nothing was done"
            )));
        }
        let is_named = said.is_some();
        if answer.yes && !is_named {
            return Err(Failure::Usage(format!(
                "{name} loses writes of {service}: --yes needs --lose-writes-of {service} for that. Nothing was done"
            )));
        }
        if !answer.yes && !io::stdin().is_terminal() {
            return Err(Failure::Refused(format!(
                "nobody can be asked, since standard input is no terminal: say --yes --lose-writes-of {service} to {verb}. \
                 Nothing was done"
            )));
        }
        let is_confirmed = answer.yes
            || out.ask(&format!(
                "This loses writes of {service} for good. Type the service's name to go on: "
            ))? == service;
        if is_confirmed {
            Ok(self.cluster.to_owned())
        } else {
            Err(Failure::Refused(
                "not confirmed: nothing was done".to_owned(),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a plan that loses writes of `db`, with these flags, where nobody can be asked.
    fn confirmed(yes: bool, named: Option<&str>) -> Result<String, Failure> {
        let act = Act {
            cluster: "shop",
            machines: 0,
            loses: Some("db"),
            name: "this plan",
            verb: "start this plan",
            question: "Start 2 steps on shop?".to_owned(),
        };
        let answer = Answer {
            yes,
            cluster: None,
            service: named.map(|name| name.parse().unwrap()),
        };
        act.confirm(&answer, Out::new())
    }

    #[test]
    fn a_yes_loses_no_writes_without_the_name_of_their_service() {
        assert!(matches!(confirmed(true, Some("db")), Ok(cluster) if cluster == "shop"));
        for (yes, named) in [(true, None), (true, Some("web"))] {
            let refused = confirmed(yes, named).unwrap_err().to_string();
            assert!(refused.contains("loses writes of db"), "{refused}");
        }
    }
}
