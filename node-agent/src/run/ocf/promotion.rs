//! A resource becomes primary by its agent, and stops being that.

use std::time::Duration;

use interlock_model::action::Part;
use interlock_model::names::ServiceName;
use interlock_model::ocf::Resource;
use tokio::time::{sleep, timeout};

use crate::ocf::{Code, Look, Verb};
use crate::roles::{Condition, DataSight, View, Work};
use crate::run::errand::{Errand, Trouble, is_of_guard, is_of_role};
use crate::run::hands::Hands;
use crate::run::managers::ocf::LOOK_AGAIN;
use crate::run::managers::{Managers, chain};
use crate::shim::{Run, RunId};

/// What the ids of the runs end with.
const PROMOTE: &str = "promote";
const DEMOTE: &str = "demote";

/// How long the end of a killed action is waited for, before what comes after it.
const KILLED: Duration = Duration::from_secs(10);

/// How a promotable resource looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct RoleSight {
    pub(in crate::run) condition: Condition,
    pub(in crate::run) data: DataSight,
    /// Something of it may be there, whatever its condition.
    pub(in crate::run) remains: bool,
}

impl Managers {
    /// Why a resource could not be promoted, however it looks.
    pub(in crate::run) fn ocf_trouble(&self, resource: &Resource) -> Option<String> {
        match self.ocf.score(resource) {
            Ok(Some(score)) if score >= 0 => None,
            Ok(Some(score)) => Some(format!("its agent gives it a score of {score}")),
            Ok(None) => Some("its agent has given it no score".to_owned()),
            Err(error) => Some(format!("nobody can tell what score it has: {error}")),
        }
    }

    /// May something run that was begun for the role of this service, or to have it stand by?
    pub(in crate::run) fn may_act(&self, service: &ServiceName) -> bool {
        self.begun(service).iter().any(Run::command_may_run)
    }

    fn begun(&self, service: &ServiceName) -> Vec<Run> {
        let of_either = |id: &RunId| is_of_role(id, service) || is_of_guard(id, service);
        self.runs.all(of_either)
    }

    /// Ends whatever was begun for the role of this service, or to have it stand by: an action outlives its agent, and would promote
    /// what has been demoted since, or start what was stopped.
    pub(in crate::run) async fn end_runs(&self, service: &ServiceName) -> Result<(), Trouble> {
        for run in self.begun(service) {
            if !run.command_may_run() {
                continue;
            }
            let id = run.id();
            tracing::warn!(%service, run = %id, "ending what was begun before");
            let left = match timeout(KILLED, run.stop()).await {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => chain(&error),
                Err(_) => format!("it was killed {KILLED:?} ago"),
            };
            let text = format!("{id}, which was begun before, may still run: {left}");
            return Err(Trouble::unknown(text, true));
        }
        Ok(())
    }

    /// Looks at a resource of which this node has the role, or has not.
    pub(super) async fn sight_of_promotable(
        &self,
        resource: &Resource,
        is_primary: bool,
    ) -> RoleSight {
        let mut sight = match self.ocf.look(resource).await {
            Ok(look) => sight(&look, is_primary),
            Err(error) => RoleSight {
                condition: Condition::Unknown(chain(&error)),
                data: DataSight::default(),
                remains: false,
            },
        };
        let score = self.ocf.score(resource);
        sight.data.text = match &score {
            Ok(Some(score)) => format!("score {score}"),
            Ok(None) => "no score".to_owned(),
            Err(error) => format!("score unknown: {error}"),
        };
        sight.data.score = score.ok().flatten();
        sight
    }
}

impl Hands {
    /// Looks at a resource that this agent's own file gives to its service.
    pub(in crate::run) async fn sight_of_ocf(
        &self,
        service: &ServiceName,
        part: &Part,
        resource: &Resource,
    ) -> RoleSight {
        if let Err(refusal) = self.managers.allow.permits_part(service, part) {
            return RoleSight {
                condition: Condition::Unknown(refusal.to_string()),
                data: DataSight::default(),
                remains: false,
            };
        }
        let view = self.roles.view(service);
        let is_primary = view.as_ref().is_some_and(View::is_primary);
        self.managers
            .sight_of_promotable(resource, is_primary)
            .await
    }

    /// Promotes a resource that runs unpromoted. By the right of its seat, which has it demoted and stopped if that is lost
    /// meanwhile. One that is down is not started for it.
    pub(in crate::run) async fn promote_ocf(
        &self,
        work: &Work,
        resource: &Resource,
        index: usize,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let failed = |why: String| Trouble::Failed(format!("it is not promoted: {why}"));
        match self.managers.sight_of_promotable(resource, true).await {
            sight if sight.condition == Condition::Up => {
                return Ok("promoted already".to_owned());
            }
            sight if sight.condition == Condition::Standby => {}
            sight => return Err(failed(format!("it is no standby: {:?}", sight.condition))),
        }
        if let Some(why) = self.managers.ocf_trouble(resource) {
            return Err(failed(why));
        }
        self.managers.end_runs(&work.service).await?;
        let action = self
            .managers
            .ocf_action(resource, Verb::Promote, PROMOTE, index, errand);
        let report = action.await;
        self.forget_ocf_runs(&work.service);
        let report = report?;
        if !report.success() {
            let text = format!("`promote` of {}: {}", resource.name, report.text);
            return Err(Trouble::unknown(text, true));
        }
        self.seen_as(resource, Verb::Promote, errand, |condition| {
            *condition == Condition::Up
        })
        .await
    }

    /// Has a resource demoted. What is not seen unpromoted afterwards is for its seat to end by force.
    pub(in crate::run) async fn demote_ocf(
        &self,
        work: &Work,
        resource: &Resource,
        index: usize,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        self.managers.end_runs(&work.service).await?;
        let action = self
            .managers
            .ocf_action(resource, Verb::Demote, DEMOTE, index, errand);
        let report = action.await;
        self.forget_ocf_runs(&work.service);
        let report = report?;
        // One that was down is no primary, whatever its agent says to a demotion of it.
        if !report.success() && report.code != Some(Code::NotRunning) {
            let text = format!("`demote` of {}: {}", resource.name, report.text);
            return Err(Trouble::unknown(text, true));
        }
        let seen = self
            .seen_as(resource, Verb::Demote, errand, |condition| {
                matches!(condition, Condition::Standby | Condition::Down(_))
            })
            .await?;
        self.roles
            .demoted(&work.service, &Part::Ocf(resource.clone()));
        Ok(seen)
    }

    /// Looks until what an action did is seen: an agent may return before that, which it should not. A demotion has no longer than it
    /// may take itself: its right is renewed meanwhile, and nobody is primary.
    async fn seen_as(
        &self,
        resource: &Resource,
        verb: Verb,
        errand: &Errand<'_>,
        is_so: impl Fn(&Condition) -> bool,
    ) -> Result<String, Trouble> {
        let mut last = String::new();
        let looking = async {
            loop {
                // What has failed while it was promoted may be promoted.
                let sight = self.managers.sight_of_promotable(resource, false).await;
                if is_so(&sight.condition) && !sight.remains {
                    return Ok(sight.data.text);
                }
                last = format!("{:?}", sight.condition);
                let gone = matches!(sight.condition, Condition::Down(_)) || sight.remains;
                if gone {
                    return Err("it has failed".to_owned());
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        let limit = match verb {
            Verb::Demote => self.managers.ocf.limit(resource, verb.word()),
            Verb::Start | Verb::Stop | Verb::Promote => Duration::MAX,
        };
        let why = tokio::select! {
            seen = looking => match seen {
                Ok(text) => return Ok(format!("{}d, {text}", verb.word())),
                Err(why) => why,
            },
            halt = errand.halted() => halt.to_string(),
            () = sleep(limit) => format!("{limit:?} have passed"),
        };
        let (word, name) = (verb.word(), &resource.name);
        let text =
            format!("{why}; `{word}` of {name} succeeded, and its monitor does not say so: {last}");
        Err(Trouble::unknown(text, true))
    }

    /// Forgets the runs that have promoted and demoted something for this service as soon as the last process of each is gone.
    pub(in crate::run) fn forget_ocf_runs(&self, service: &ServiceName) {
        let words = [PROMOTE, DEMOTE, "stop"].map(|word| format!(".{word}"));
        let runs = self.managers.runs.all(|id| {
            is_of_role(id, service) && words.iter().any(|word| id.as_str().ends_with(word))
        });
        for run in runs {
            self.managers.exec.forget(run);
        }
    }
}

/// What a look means for a role that this node has, or has not.
fn sight(look: &Look, is_primary: bool) -> RoleSight {
    let (report, doubt) = match look {
        Look::Acting(verb) => {
            let text = format!("its agent's `{}` is running", verb.word());
            return RoleSight {
                condition: Condition::Unknown(text),
                data: DataSight::default(),
                remains: false,
            };
        }
        Look::Monitored { report, doubt, .. } => (report, doubt),
    };
    let text = format!("monitor: {}", report.text);
    let (condition, remains) = match (report.code, doubt) {
        (Some(code), _) if code.is_promoted() => (Condition::Up, false),
        (Some(code), _) if code.is_up() => (Condition::Standby, false),
        // Of a primary it is a death; where nobody is to be one, it may be one.
        (Some(Code::FailedPromoted), _) if is_primary => (Condition::Down(text), true),
        (Some(Code::FailedPromoted), _) => (Condition::Up, true),
        (Some(Code::NotRunning | Code::Installed), Some(doubt)) => {
            let text = format!("{text}, which does not count after {doubt}");
            (Condition::Unknown(text), false)
        }
        (Some(Code::NotRunning), None) => (Condition::Down(text), false),
        (Some(Code::Installed), None) => (Condition::Unknown(text), false),
        (Some(Code::Generic | Code::Other(_)), _) => (Condition::Down(text), true),
        (Some(_) | None, _) => (Condition::Unknown(text), false),
    };
    RoleSight {
        condition,
        data: DataSight::default(),
        remains,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ocf::Report;

    fn seen(code: Option<i32>, is_primary: bool, doubt: Option<&str>) -> (Condition, bool) {
        let report = Report {
            code: code.map(Code::of),
            text: String::new(),
        };
        let look = Look::Monitored {
            report,
            was_up: true,
            doubt: doubt.map(str::to_owned),
        };
        let sight = sight(&look, is_primary);
        let condition = match sight.condition {
            Condition::Down(_) => Condition::Down(String::new()),
            Condition::Unknown(_) => Condition::Unknown(String::new()),
            condition => condition,
        };
        (condition, sight.remains)
    }

    #[test]
    fn what_may_be_promoted_is_a_primary_wherever_nobody_is_to_be_one() {
        let (down, unknown) = (
            || Condition::Down(String::new()),
            || Condition::Unknown(String::new()),
        );
        for (code, standby, primary) in [
            (0, (Condition::Standby, false), (Condition::Standby, false)),
            (
                190,
                (Condition::Standby, false),
                (Condition::Standby, false),
            ),
            (8, (Condition::Up, false), (Condition::Up, false)),
            (191, (Condition::Up, false), (Condition::Up, false)),
            (9, (Condition::Up, true), (down(), true)),
            (7, (down(), false), (down(), false)),
            (1, (down(), true), (down(), true)),
            (42, (down(), true), (down(), true)),
            (2, (unknown(), false), (unknown(), false)),
            (6, (unknown(), false), (unknown(), false)),
        ] {
            assert_eq!(seen(Some(code), false, None), standby, "{code}");
            assert_eq!(seen(Some(code), true, None), primary, "{code}");
        }
        assert_eq!(seen(None, true, None), (unknown(), false), "no answer");
        let after = seen(Some(7), true, Some("a stop failed"));
        assert_eq!(after, (unknown(), false));
    }
}
