//! The report: what a plan leaves out, takes for granted or refuses, and why.
//!
//! Each [`Entry`] is typed, serialisable and prints as one line. Where a named check stands in the way, the entry names
//! it, and `--force` with that name lifts it; an entry without a check can only be lifted by removing its cause.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use interlock_model::check::CheckId;
use interlock_model::file::Difference;
use interlock_model::names::{LocalName, NodeName, ServiceName};
use interlock_model::plan::{Assumption, StepId};
use interlock_model::time::human;
use serde::{Deserialize, Serialize};

use crate::checker::Violation;

/// What an entry is about: a service, a node, an instance if both are named, the cluster if none is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Subject {
    /// The service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// The node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
}

impl Subject {
    /// The whole cluster.
    #[must_use]
    pub fn cluster() -> Self {
        Self::default()
    }
    /// A node.
    #[must_use]
    pub fn node(node: &NodeName) -> Self {
        Self {
            service: None,
            node: Some(node.clone()),
        }
    }
    /// A service.
    #[must_use]
    pub fn service(service: &ServiceName) -> Self {
        Self {
            service: Some(service.clone()),
            node: None,
        }
    }
    /// An instance.
    #[must_use]
    pub fn instance(service: &ServiceName, node: &NodeName) -> Self {
        Self {
            service: Some(service.clone()),
            node: Some(node.clone()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.service, &self.node) {
            (Some(service), Some(node)) => write!(f, "{service}@{node}"),
            (Some(service), None) => write!(f, "service {service}"),
            (None, Some(node)) => write!(f, "node {node}"),
            (None, None) => f.write_str("cluster"),
        }
    }
}

/// How many nodes are named in a line; the rest is counted.
const NAMED: usize = 8;

/// One thing to know about a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum Entry {
    /// Left out.
    Excluded {
        /// What.
        #[serde(flatten)]
        subject: Subject,
        /// Why.
        why: String,
    },
    /// Left for a person to do after the plan.
    LeftForYou {
        /// What is left.
        #[serde(flatten)]
        subject: Subject,
        /// What to do, and why the plan cannot.
        task: String,
    },
    /// Added to the scope, because what it depends on goes.
    Included {
        /// What.
        #[serde(flatten)]
        subject: Subject,
        /// The service that it depends on.
        because_of: ServiceName,
    },
    /// Already in the state that is asked for.
    AlreadyDone {
        /// What.
        #[serde(flatten)]
        subject: Subject,
        /// The state.
        state: String,
    },
    /// What becomes different about a file that the plan writes.
    Changes {
        /// Whose file it is.
        service: ServiceName,
        /// Which of them.
        file: LocalName,
        /// The nodes where it is so.
        on: BTreeSet<NodeName>,
        /// What.
        difference: Difference,
    },
    /// The reason why there is no plan: known, and in the way.
    Blocked {
        /// What cannot be done.
        #[serde(flatten)]
        subject: Subject,
        /// What is in the way.
        by: String,
        /// What can be done about it.
        remedy: String,
        /// The check to name with `--force`, if one is the cause.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        force: Option<CheckId>,
    },
    /// The reason why there is no plan: not known, and never taken for OK.
    Unknown {
        /// Of what it is unknown.
        #[serde(flatten)]
        subject: Subject,
        /// What is unknown, and why.
        why: String,
        /// What can be done about it.
        remedy: String,
        /// The check to name with `--force`, if one is the cause.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        force: Option<CheckId>,
    },
    /// The reason why there is no plan: too few instances would be left.
    CapacityShort {
        /// The service.
        service: ServiceName,
        /// How many instances in service it has now: healthy, and not out of a load balancer.
        have: u32,
        /// How many the plan would leave at its lowest point.
        would_leave: u32,
        /// How many the spec wants at least.
        at_least: u32,
    },
    /// The capacity that the plan keeps. Counted again right before each step that takes an instance out of service.
    Keeps {
        /// The service.
        service: ServiceName,
        /// How many instances in service it has now.
        have: u32,
        /// How many the plan leaves at its lowest point.
        would_leave: u32,
        /// How many the spec wants at least.
        at_least: u32,
    },
    /// How long nobody takes writes of a service in the plan after its primary's machine is lost, by the timings of its lease.
    Recovery {
        /// The service.
        service: ServiceName,
        /// When nothing else is wrong.
        #[serde(with = "human")]
        typical: Duration,
        /// When the coordinators' leader is lost at the same moment, and clocks are as wrong as they may be.
        #[serde(with = "human")]
        worst: Duration,
    },
    /// The active side of an exclusive service, and how it is known. Looked at again right before the step.
    Active {
        /// The service.
        service: ServiceName,
        /// Its active side.
        #[serde(flatten)]
        assumption: Assumption,
    },
    /// Taken for granted without having been seen.
    Assumed {
        /// About what.
        #[serde(flatten)]
        subject: Subject,
        /// What is taken for granted.
        what: String,
    },
    /// Planned, but think of it.
    Warning {
        /// About what.
        #[serde(flatten)]
        subject: Subject,
        /// What to think of.
        text: String,
    },
    /// Something that was looked at before a role is moved. What stands against the plan is told by an entry of its own.
    PreCheck {
        /// About what.
        #[serde(flatten)]
        subject: Subject,
        /// What was looked at: `primary`, `standby`, `caught-up`, `third-machine`, `cluster`.
        check: String,
        /// How it is.
        verdict: PreVerdict,
        /// What was seen.
        why: String,
    },
    /// The step from which on taking the operation back does not bring everything back: a role that has moved stays.
    NoReturn {
        /// The step.
        step: StepId,
    },
    /// What must be green before the operation ends, besides what its steps wait for: those who run on reach again what was
    /// restarted. Who they are is seen once more at the end.
    AtEnd {
        /// The check.
        check: CheckId,
        /// The nodes where something runs now that requires its service.
        on: BTreeSet<NodeName>,
    },
    /// The plan in numbers.
    Limits {
        /// How many steps it has.
        steps: usize,
        /// How many stages they make (a derived view).
        stages: u32,
        /// The longest that it can take without a person's part: the greatest sum of time limits along its edges.
        #[serde(with = "human")]
        at_most: Duration,
        /// The steps that wait for a person.
        people: Vec<StepId>,
    },
    /// The independent checker objects to the plan that was built: an error of Interlock itself.
    Internal {
        /// What it objects to.
        violation: Violation,
    },
}

/// How something is that was looked at before a role is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreVerdict {
    /// As it should be.
    Pass,
    /// Not as it should be.
    Fail,
    /// Not known.
    Unknown,
}

impl fmt::Display for PreVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        })
    }
}

impl Entry {
    /// Is this a reason why there is no plan?
    #[must_use]
    pub fn refuses(&self) -> bool {
        match self {
            Self::Blocked { .. }
            | Self::Unknown { .. }
            | Self::CapacityShort { .. }
            | Self::Internal { .. } => true,
            Self::Excluded { .. }
            | Self::LeftForYou { .. }
            | Self::Included { .. }
            | Self::AlreadyDone { .. }
            | Self::Changes { .. }
            | Self::Keeps { .. }
            | Self::Recovery { .. }
            | Self::Active { .. }
            | Self::Assumed { .. }
            | Self::Warning { .. }
            | Self::PreCheck { .. }
            | Self::NoReturn { .. }
            | Self::AtEnd { .. }
            | Self::Limits { .. } => false,
        }
    }

    /// The check that may be named with `--force` to lift this, if there is one.
    #[must_use]
    pub fn force(&self) -> Option<&CheckId> {
        match self {
            Self::Blocked { force, .. } | Self::Unknown { force, .. } => force.as_ref(),
            Self::Excluded { .. }
            | Self::LeftForYou { .. }
            | Self::Included { .. }
            | Self::AlreadyDone { .. }
            | Self::Changes { .. }
            | Self::CapacityShort { .. }
            | Self::Keeps { .. }
            | Self::Recovery { .. }
            | Self::Active { .. }
            | Self::Assumed { .. }
            | Self::Warning { .. }
            | Self::PreCheck { .. }
            | Self::NoReturn { .. }
            | Self::AtEnd { .. }
            | Self::Limits { .. }
            | Self::Internal { .. } => None,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Excluded { subject, why } => write!(f, "excluded: {subject}: {why}")?,
            Self::LeftForYou { subject, task } => write!(f, "left for you: {subject}: {task}")?,
            Self::Included {
                subject,
                because_of,
            } => write!(f, "included: {subject}: it requires {because_of}")?,
            Self::AlreadyDone { subject, state } => {
                write!(f, "already done: {subject} is {state}")?
            }
            Self::Changes {
                service,
                file,
                on,
                difference,
            } => {
                let on: Vec<&str> = on.iter().map(NodeName::as_str).collect();
                write!(
                    f,
                    "changes: the file {file} of {service} on {}",
                    on.join(", ")
                )?;
                match difference {
                    Difference::Hidden(why) => write!(f, ": what it says now is not shown: {why}")?,
                    Difference::Lines(lines) => {
                        f.write_str(":")?;
                        lines.lines().try_for_each(|line| write!(f, "\n  {line}"))?;
                    }
                }
            }
            Self::Blocked {
                subject,
                by,
                remedy,
                ..
            } => write!(f, "blocked: {subject}: {by}; {remedy}")?,
            Self::Unknown {
                subject,
                why,
                remedy,
                ..
            } => write!(f, "unknown: {subject}: {why}; {remedy}")?,
            Self::CapacityShort {
                service,
                have,
                would_leave,
                at_least,
            } => write!(
                f,
                "capacity: service {service} has {have} in service, the plan would leave {would_leave}, \
                 at least {at_least} must stay"
            )?,
            Self::Keeps {
                service,
                have,
                would_leave,
                at_least,
            } => write!(
                f,
                "keeps: service {service} has {have} in service and never less than {would_leave}, at least {at_least} must stay"
            )?,
            Self::Recovery {
                service,
                typical,
                worst,
            } => write!(
                f,
                "recovery: service {service}: once its primary's machine is lost, nobody takes writes for {} typically, \
                 {} at worst",
                human::text(*typical),
                human::text(*worst)
            )?,
            Self::Active {
                service,
                assumption,
            } => {
                write!(
                    f,
                    "active: {service} on {} ({})",
                    assumption.active, assumption.known
                )?;
            }
            Self::Assumed { subject, what } => write!(f, "assumed: {subject}: {what}")?,
            Self::Warning { subject, text } => write!(f, "warning: {subject}: {text}")?,
            Self::PreCheck {
                subject,
                check,
                verdict,
                why,
            } => write!(f, "check: {subject}: {check}: {verdict}: {why}")?,
            Self::NoReturn { step } => write!(
                f,
                "no return: once {step} has begun, `abort --unwind` leaves each role that has moved where it is; a switchover \
                 or failback moves it back"
            )?,
            Self::AtEnd { check, on } => {
                let named: Vec<&str> = on.iter().take(NAMED).map(NodeName::as_str).collect();
                let named = named.join(", ");
                write!(
                    f,
                    "at the end: waits until {check} is green again on {named}"
                )?;
                if let Some(more @ 1..) = on.len().checked_sub(NAMED) {
                    write!(f, " and {}", counted(more, "more node"))?;
                }
            }
            Self::Limits {
                steps,
                stages,
                at_most,
                people,
            } => {
                let (steps, stages) = (counted(*steps, "step"), counted(*stages, "stage"));
                write!(f, "limits: {steps} in {stages}")?;
                write!(f, ", at most {}", human::text(*at_most))?;
                if !people.is_empty() {
                    let steps = counted(people.len(), "step");
                    write!(f, " and the time of people ({steps})")?;
                }
            }
            Self::Internal { violation } => write!(
                f,
                "internal: the checker refuses the plan: {violation}; this is an error in Interlock, please report it"
            )?,
        }
        match self.force() {
            Some(check) => write!(f, " (override: --force {check})"),
            None => Ok(()),
        }
    }
}

/// `1 step`, `2 steps`.
pub(crate) fn counted<N: fmt::Display + PartialEq + From<u8> + Copy>(
    number: N,
    what: &str,
) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// What is to be known about a plan, or about why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
#[must_use = "a report that nobody reads explains nothing"]
pub struct Report {
    entries: Vec<Entry>,
}

impl Report {
    /// The entries, in the order in which they were found.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Does an entry stand against the plan?
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.entries.iter().any(Entry::refuses)
    }

    /// The entries that stand against the plan.
    pub fn refusals(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.refuses())
    }

    pub(crate) fn add(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Drops what was said before: several builders may come upon the same cause.
    pub(crate) fn without_repetition(self) -> Self {
        let mut seen = BTreeSet::new();
        let first: Vec<bool> = self
            .entries
            .iter()
            .map(|entry| seen.insert(entry))
            .collect();
        Self {
            entries: self
                .entries
                .iter()
                .zip(first)
                .filter(|(_, first)| *first)
                .map(|(e, _)| e.clone())
                .collect(),
        }
    }

    pub(crate) fn blocked(
        &mut self,
        subject: Subject,
        by: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Entry::Blocked {
            subject,
            by: by.into(),
            remedy: remedy.into(),
            force: None,
        });
    }

    pub(crate) fn unknown(
        &mut self,
        subject: Subject,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Entry::Unknown {
            subject,
            why: why.into(),
            remedy: remedy.into(),
            force: None,
        });
    }

    pub(crate) fn warn(&mut self, subject: Subject, text: impl Into<String>) {
        self.add(Entry::Warning {
            subject,
            text: text.into(),
        });
    }

    pub(crate) fn excluded(&mut self, subject: Subject, why: impl Into<String>) {
        self.add(Entry::Excluded {
            subject,
            why: why.into(),
        });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries
            .iter()
            .try_for_each(|entry| writeln!(f, "{entry}"))
    }
}
