//! Parts that OCF resource agents manage.
//!
//! # What a monitor says
//! | code | here |
//! |---|---|
//! | 0, 8, 190, 191 | running |
//! | 7 | stopped; *failed* if it was seen running since it was last stopped: the code does not tell a death from a stop |
//! | 5, to a probe | stopped: its software is missing |
//! | 1, 9, any other | *unknown*, and broken: something of it may be there, so it is not down, and the guard recovers it |
//! | 2, 3, 4, 5, 6 | *unknown*: to start it again would change nothing |
//! | none | *unknown*: the time limit, a signal |
//!
//! What is broken is stopped before it is started. A start that failed is taken back by a stop; only what is seen stopped
//! after that has *failed*, everything else is unknown. A stop that failed is unknown, whatever a monitor says afterwards.

use std::time::Duration;

use interlock_model::observation::InstanceState;
use interlock_model::ocf::Resource;

use super::{Managers, chain};
use crate::ocf::{Code, Error, Look, Report, Told, Verb};
use crate::run::errand::{Errand, Trouble};
use crate::run::seen::{Restarter, Seen};

/// The pause before a monitor that does not yet see what an action did is run again.
pub(in crate::run) const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Less time than this is not enough to take a start back.
const LEAST: Duration = Duration::from_secs(1);

/// What the ids of an errand's runs end with: one of each for a part.
pub(in crate::run) const START: &str = "start";
const STOP: &str = "stop";
/// The stop before a start of what is broken.
const RECOVER: &str = "recover";
/// The stop after a start that failed.
const CLEAR: &str = "clear";

/// Those beside the names of a start and a stop. Before each stop of what may be promoted comes its `demote`.
pub(in crate::run) const WORDS: [&str; 6] = [
    RECOVER,
    CLEAR,
    "promote",
    "demote",
    "demote-recover",
    "demote-clear",
];

impl Managers {
    /// Why a resource cannot be started, as far as is known without running anything.
    pub(super) fn ocf_objection(&self, resource: &Resource) -> Option<String> {
        let agent = &resource.agent;
        match self.ocf.catalogue().known(agent)? {
            Err(error) => Some(error.to_string()),
            Ok(known) => {
                let objections = known.objections(resource);
                let lacks = known.lacks(resource).into_iter();
                let lacks = lacks.map(|action| format!("it has no action '{action}'"));
                let texts = objections.iter().map(ToString::to_string).chain(lacks);
                let texts: Vec<String> = texts.collect();
                let text = format!(
                    "{} does not fit {agent}: {}",
                    resource.name,
                    texts.join("; ")
                );
                (!texts.is_empty()).then_some(text)
            }
        }
    }

    pub(super) async fn look_at_ocf(&self, resource: &Resource) -> Seen {
        let seen = match self.ocf.look(resource).await {
            Ok(look) => seen(&look),
            Err(error) => Seen::unknown(chain(&error)),
        };
        match resource.promotable {
            // But who keeps it for its role.
            true => Seen {
                restarter: Restarter::Nobody,
                ..seen
            },
            false => seen,
        }
    }

    pub(in crate::run) async fn bring_ocf_up(
        &self,
        resource: &Resource,
        index: usize,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        // One that an earlier process of this agent has begun is waited for.
        if self.runs.get(&errand.run_id(index, START)?).is_none() {
            self.check(resource).await?;
            let seen = self.look_at_ocf(resource).await;
            // It was promoted while it was checked: an agent need not know a start of that, and it would be taken back.
            if resource.promotable && seen.is_running() {
                return Ok(format!("already {}", seen.text()));
            }
            if seen.broken {
                self.demote_before(resource, RECOVER, index, errand).await;
                let report = self
                    .ocf_action(resource, Verb::Stop, RECOVER, index, errand)
                    .await?;
                if !report.success() {
                    let text = format!(
                        "{} is broken and cannot be stopped: {}",
                        resource.name, report.text
                    );
                    return Err(Trouble::unknown(text, true));
                }
            }
        }
        let why = match self
            .ocf_action(resource, Verb::Start, START, index, errand)
            .await
        {
            Ok(report) if report.success() => {
                return self
                    .prove_ocf(resource, Verb::Start, errand, Seen::is_running)
                    .await;
            }
            Ok(report) => format!("`start` of {}: {}", resource.name, report.text),
            Err(Trouble::Failed(why)) => return Err(Trouble::Failed(why)),
            Err(Trouble::Unknown { evidence, .. }) => evidence,
        };
        self.take_back(resource, index, errand, why).await
    }

    pub(super) async fn take_ocf_down(
        &self,
        resource: &Resource,
        index: usize,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        self.demote_before(resource, STOP, index, errand).await;
        let report = self
            .ocf_action(resource, Verb::Stop, STOP, index, errand)
            .await?;
        if !report.success() {
            let text = format!("`stop` of {}: {}", resource.name, report.text);
            return Err(Trouble::unknown(text, true));
        }
        let is_down = |seen: &Seen| seen.state.is_down();
        self.prove_ocf(resource, Verb::Stop, errand, is_down).await
    }

    /// What may be promoted is demoted before this stop: an agent need not stop what is promoted. Whatever comes of that, the stop
    /// says whether it is down.
    async fn demote_before(
        &self,
        resource: &Resource,
        stop: &str,
        index: usize,
        errand: &Errand<'_>,
    ) {
        if !resource.promotable {
            return;
        }
        let word = match stop {
            RECOVER => "demote-recover",
            CLEAR => "demote-clear",
            _ => "demote",
        };
        let text = match self
            .ocf_action(resource, Verb::Demote, word, index, errand)
            .await
        {
            Ok(report) if report.success() => return,
            Ok(report) => report.text,
            Err(trouble) => trouble.to_string(),
        };
        tracing::info!(resource = %resource.name, "`demote` before its stop: {text}");
    }

    /// Would it be in vain to start it?
    async fn check(&self, resource: &Resource) -> Result<(), Trouble> {
        let failed = |error: &Error| Trouble::Failed(chain(error));
        let described = self.ocf.catalogue().describe(&resource.agent).await;
        described.map_err(|error| failed(&error.into()))?;
        if let Some(objection) = self.ocf_objection(resource) {
            return Err(Trouble::Failed(objection));
        }
        let validated = self.ocf.validate(resource).await;
        match validated.map_err(|error| failed(&error))? {
            Some(report) if !matches!(report.code, Some(Code::Success | Code::Unimplemented)) => {
                Err(Trouble::Failed(format!(
                    "`validate-all` of {}: {}",
                    resource.name, report.text
                )))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Runs an action to its end, once per errand and word.
    pub(in crate::run) async fn ocf_action(
        &self,
        resource: &Resource,
        verb: Verb,
        word: &str,
        index: usize,
        errand: &Errand<'_>,
    ) -> Result<Report, Trouble> {
        let (name, action) = (&resource.name, verb.word());
        let slot = self.ocf.slot(resource);
        let acting = tokio::select! {
            acting = slot.act(verb) => acting,
            halt = errand.halted() => {
                return Err(Trouble::Failed(format!("{halt} before `{action}` of {name} was begun")));
            }
        };
        let id = errand.run_id(index, word)?;
        let told = |before| Told {
            before,
            verb,
            node: self.ocf.node().clone(),
        };
        let run = match self.runs.get(&id) {
            Some(run) => run,
            None => {
                let notified = async {
                    if !errand.is_silent() {
                        self.ocf.notify(resource, told(true)).await;
                    }
                };
                tokio::select! {
                    biased;
                    halt = errand.halted() => {
                        return Err(Trouble::Failed(format!("{halt} before `{action}` of {name} was begun")));
                    }
                    () = notified => {}
                }
                let launched = self
                    .ocf
                    .launch(resource, verb, id, errand.time_left())
                    .await;
                launched.map_err(|error| Trouble::Failed(chain(&error)))?
            }
        };
        if word == STOP {
            errand.going_down(format!("`stop` of {} is running", resource.agent));
        }
        let ended = tokio::select! {
            report = self.ocf.report(&run, resource) => Ok(report),
            halt = errand.halted() => Err(halt),
        };
        let report = match ended {
            Ok(report) if report.success() => {
                acting.succeeded(verb).await;
                if !errand.is_silent() {
                    tokio::select! {
                        () = self.ocf.notify(resource, told(false)) => {}
                        _ = errand.halted() => {}
                    }
                }
                return Ok(report);
            }
            Ok(report) => report,
            Err(halt) => {
                let killed = run.stop().await.map(drop);
                let left =
                    killed.map_or_else(|error| format!("; {}", chain(&error)), |()| String::new());
                let text = format!("{halt}; `{action}` of {name} was killed{left}");
                acting.failed(verb, &text).await;
                return Err(Trouble::unknown(text, true));
            }
        };
        let why = format!("`{action}`: {}", report.text);
        acting.failed(verb, &why).await;
        Ok(report)
    }

    /// A start has failed: nothing of it shall be left, or it is not known what is.
    async fn take_back(
        &self,
        resource: &Resource,
        index: usize,
        errand: &Errand<'_>,
        why: String,
    ) -> Result<String, Trouble> {
        let mut seen = self.look_at_ocf(resource).await;
        let mut why = why;
        if !seen.state.is_down() && errand.time_left() >= LEAST {
            self.demote_before(resource, CLEAR, index, errand).await;
            match self
                .ocf_action(resource, Verb::Stop, CLEAR, index, errand)
                .await
            {
                Ok(report) if report.success() => why.push_str("; stopped again"),
                Ok(report) => why.push_str(&format!("; the `stop` after it: {}", report.text)),
                Err(trouble) => why.push_str(&format!("; {trouble}")),
            }
            seen = self.look_at_ocf(resource).await;
        }
        let run = self.runs.get(&errand.run_id(index, START)?);
        if let Some(run) = run
            && let Err(error) = run.stop().await
        {
            return Err(Trouble::unknown(format!("{why}; {}", chain(&error)), true));
        }
        if seen.state.is_down() {
            return Err(Trouble::Failed(why));
        }
        Err(Trouble::unknown(
            format!("{why}; now {}", seen.text()),
            true,
        ))
    }

    /// Looks until the monitor sees what the action did: an agent may return before its service is there, which it should
    /// not.
    async fn prove_ocf(
        &self,
        resource: &Resource,
        verb: Verb,
        errand: &Errand<'_>,
        proven: impl Fn(&Seen) -> bool,
    ) -> Result<String, Trouble> {
        let looking = async {
            loop {
                let seen = self.look_at_ocf(resource).await;
                if proven(&seen) {
                    return seen;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let halt = tokio::select! {
            seen = looking => return Ok(seen.text()),
            halt = errand.halted() => halt,
        };
        let text = format!(
            "{halt}; `{}` of {} succeeded, and its monitor does not say so: {}",
            verb.word(),
            resource.name,
            self.look_at_ocf(resource).await.text()
        );
        Err(Trouble::unknown(text, true))
    }
}

/// What a look means.
fn seen(look: &Look) -> Seen {
    let (report, was_up, doubt) = match look {
        Look::Acting(verb) => {
            let state = match verb {
                Verb::Start => InstanceState::Starting,
                Verb::Stop => InstanceState::Stopping,
                Verb::Promote | Verb::Demote => InstanceState::Running,
            };
            return Seen {
                state,
                restarter: Restarter::Guard,
                ..Seen::unknown(format!("its agent's `{}` is running", verb.word()))
            };
        }
        Look::Monitored {
            report,
            was_up,
            doubt,
        } => (report, *was_up, doubt),
    };
    let text = format!("monitor: {}", report.text);
    let (state, reason) = match (report.code, doubt) {
        (Some(Code::Success), _) => (InstanceState::Running, String::new()),
        (Some(code), _) if code.is_up() => (InstanceState::Running, text),
        (Some(Code::NotRunning), Some(doubt)) => {
            let text = format!("{text}, which does not count after {doubt}");
            (InstanceState::Unknown, text)
        }
        (Some(Code::NotRunning), None) if was_up => {
            (InstanceState::Failed, format!("{text}, and it was running"))
        }
        (Some(Code::NotRunning), None) => (InstanceState::Stopped, text),
        (Some(Code::Installed), None) if !was_up => (InstanceState::Stopped, text),
        (Some(_) | None, _) => (InstanceState::Unknown, text),
    };
    let broken = matches!(
        report.code,
        Some(Code::Generic | Code::FailedPromoted | Code::Other(_))
    );
    Seen {
        state,
        broken,
        restarter: Restarter::Guard,
        ..Seen::unknown(reason)
    }
}

#[cfg(test)]
mod tests {
    use InstanceState::{Failed, Running, Stopped, Unknown};

    use super::*;

    fn state(code: Option<i32>, was_up: bool, doubt: Option<&str>) -> (InstanceState, bool) {
        let seen = seen(&Look::Monitored {
            report: Report {
                code: code.map(Code::of),
                text: "said".to_owned(),
            },
            was_up,
            doubt: doubt.map(str::to_owned),
        });
        (seen.state, seen.broken)
    }

    #[test]
    fn only_what_an_agent_says_plainly_is_up_or_down() {
        for (code, probed, monitored) in [
            (0, (Running, false), (Running, false)),
            (1, (Unknown, true), (Unknown, true)),
            (2, (Unknown, false), (Unknown, false)),
            (3, (Unknown, false), (Unknown, false)),
            (4, (Unknown, false), (Unknown, false)),
            (5, (Stopped, false), (Unknown, false)),
            (6, (Unknown, false), (Unknown, false)),
            (7, (Stopped, false), (Failed, false)),
            (8, (Running, false), (Running, false)),
            (9, (Unknown, true), (Unknown, true)),
            (42, (Unknown, true), (Unknown, true)),
            (190, (Running, false), (Running, false)),
            (191, (Running, false), (Running, false)),
        ] {
            assert_eq!(state(Some(code), false, None), probed, "{code} to a probe");
            assert_eq!(
                state(Some(code), true, None),
                monitored,
                "{code} of what ran"
            );
        }
        assert_eq!(state(None, false, None), (Unknown, false), "no answer");
    }

    #[test]
    fn after_a_stop_that_failed_nothing_but_running_is_believed() {
        assert_eq!(state(Some(7), true, Some("why")), (Unknown, false));
        assert_eq!(state(Some(5), false, Some("why")), (Unknown, false));
        assert_eq!(state(Some(0), false, Some("why")), (Running, false));
    }
}
