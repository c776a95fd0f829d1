//! A restart that changes a file of a service on the way.
//!
//! ```text
//! try-file on every node ──► stop a@n1 ──down──► write-file a@n1 ──up──► start a@n1 ──healthy──► stop a@n2 ──► …
//! ```
//!
//! Every node's checker looks at its text before anything is touched, so that what one of them refuses stops nothing. The
//! file changes only while its instance is stopped: what runs is what the file says. Taken back, such a restart goes the
//! way that it came, instance by instance: drained, stopped, with the old file, started, admitted. So a start has an undo
//! here, and an admission too, other than in a restart that changes nothing.
//!
//! What the files say now the agents have been asked ([`Rendering::with_found`]). The report has what changes. An instance that is
//! well, and runs with what its file shall say, is left alone; what is not known of one is no reason to leave it alone. A text that
//! an agent would refuse, for a secret that its own file does not permit or that its node does not have, has no plan.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::action::Part;
use interlock_model::check::Verdict;
use interlock_model::file::{Compared, Difference, ServiceFile, Text, Untold};
use interlock_model::names::{LocalName, NodeName, ServiceName};
use interlock_model::permission::Permission;
use interlock_model::plan::{PlanKind, Wait};
use interlock_model::spec::{Service, Spec};

use crate::draft::Draft;
use crate::graph::Handle;
use crate::input::Request;
use crate::report::{Entry, Report, Subject};
use crate::template;
use crate::{Scope, permits, steps};

/// The most bytes of all differences of a report: it is one answer to one call.
const MAX_SHOWN: usize = 512 * 1024;

/// The file that a plan writes, and its text for each node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// Whose file it is.
    service: ServiceName,
    /// Which of them.
    file: LocalName,
    /// What it shall say.
    texts: BTreeMap<NodeName, Text>,
    /// How what it says now compares with that, as far as it was asked for; why that cannot be told, if so.
    found: BTreeMap<NodeName, Result<Compared, Untold>>,
}

/// The texts that a plan writes, ready before it is made.
#[derive(Debug, Clone, Default)]
pub struct Rendering {
    /// None if the request changes no file, or if the report says why there are none.
    pub(crate) rendered: Option<Rendered>,
    pub(crate) report: Report,
}

impl Rendering {
    pub(crate) fn new(spec: &Spec, request: &Request) -> Self {
        let mut report = Report::default();
        Self {
            rendered: rendered(spec, request, &mut report),
            report,
        }
    }

    /// Is there a text to be written?
    #[must_use]
    pub fn has_texts(&self) -> bool {
        self.rendered.is_some()
    }

    /// What would be written: on each node which file of which service, and its text.
    pub fn texts(&self) -> impl Iterator<Item = (&NodeName, (&ServiceName, &LocalName, &Text))> {
        let rendered = self.rendered.iter();
        rendered.flat_map(|it| {
            let texts = it.texts.iter();
            texts.map(|(node, text)| (node, (&it.service, &it.file, text)))
        })
    }

    /// The same with what agents say of the files as they are now; why they do not, if so.
    #[must_use]
    pub fn with_found(&self, found: BTreeMap<NodeName, Result<Compared, Untold>>) -> Self {
        let mut with = self.clone();
        if let Some(rendered) = &mut with.rendered {
            rendered.found = found;
        }
        with
    }
}

/// The texts of the file that a request changes; why there are none is in the report.
fn rendered(spec: &Spec, request: &Request, report: &mut Report) -> Option<Rendered> {
    let change = request.change.as_ref()?;
    let services = match (&request.scope, request.kind) {
        (Scope::Services(services), PlanKind::Restart) if services.len() == 1 => services,
        _ => {
            report.blocked(
                Subject::cluster(),
                "a file is changed by the restart of one service",
                "write restart --service SERVICE --config FILE",
            );
            return None;
        }
    };
    let service = services.iter().find_map(|name| spec.services.get(name))?;
    let subject = Subject::service(&service.name);
    if service.is_leased() {
        report.blocked(
            subject,
            "its primary is who holds its lease, and the way back of a change would have to move that",
            "change the file of each standby by hand, and move the role by `switchover`",
        );
        return None;
    }
    let (file, declared) = chosen(service, change.file.as_ref(), report)?;
    let texts = match template::render(spec, service, declared, &change.template) {
        Ok(texts) => texts,
        Err(troubles) => {
            for trouble in troubles {
                let place = match trouble.place.as_str() {
                    "" => String::new(),
                    place => format!(" at {place}"),
                };
                let subject = Subject {
                    service: Some(service.name.clone()),
                    node: trouble.node,
                };
                let by = format!("its template gives no text{place}: {}", trouble.what);
                report.blocked(subject, by, trouble.remedy);
            }
            return None;
        }
    };
    Some(Rendered {
        service: service.name.clone(),
        file: file.clone(),
        texts,
        found: BTreeMap::new(),
    })
}

/// The file that is meant: the one that is named, or the only one.
fn chosen<'s>(
    service: &'s Service,
    named: Option<&LocalName>,
    report: &mut Report,
) -> Option<(&'s LocalName, &'s ServiceFile)> {
    let all: Vec<&str> = service.files.keys().map(LocalName::as_str).collect();
    let found = match named {
        Some(name) => service.files.get_key_value(name),
        None if all.len() == 1 => service.files.first_key_value(),
        None => None,
    };
    if found.is_none() {
        let by = match (named, all.as_slice()) {
            (_, []) => "the spec names no file of it".to_owned(),
            (Some(name), _) => format!("the spec names no file {name} of it"),
            (None, _) => "it has several files".to_owned(),
        };
        let remedy = match all.as_slice() {
            [] => "name it in the spec, under `files` of the service".to_owned(),
            _ => format!("write --config NAME=FILE with one of {}", all.join(", ")),
        };
        report.blocked(Subject::service(&service.name), by, remedy);
    }
    found
}

/// Of what commands start only who has begun that knows when.
fn who_would_know(service: &Service) -> String {
    let mut commands = service.parts.iter().filter_map(|part| match part {
        Part::Exec { .. } => Some("exec"),
        Part::Ocf(_) => Some("ocf"),
        _ => None,
    });
    commands.next().map_or_else(String::new, |manager| {
        format!(" (of {manager}, only an agent that has started it itself, and runs since then, knows when)")
    })
}

impl Rendered {
    /// Adds the steps for the file between the stop and the start of an instance, and what tries its text.
    pub(crate) fn weave(
        &self,
        draft: &mut Draft<'_>,
        service: &Service,
        node: &NodeName,
        (stop, start): (Handle, Handle),
    ) -> Option<Handle> {
        let text = self.texts.get(node)?;
        let digest = text.digest();
        draft.texts.insert(digest, text.clone());
        let steps = steps::file(service, node, &self.file, digest);
        let trial = draft.graph.add_beside(steps.0, stop);
        let write = draft.graph.add_beside(steps.1, start);
        draft.graph.after(write, stop, Wait::Down);
        draft.graph.after(start, write, Wait::Up);
        Some(trial)
    }

    /// Does an instance run with what its file shall say, and is it well? Then nothing is to be done about it, and the report says
    /// so, unless the request wants it all the same.
    pub(crate) fn is_done(
        &self,
        draft: &mut Draft<'_>,
        service: &Service,
        node: &NodeName,
    ) -> bool {
        let wanted = draft.request.change.as_ref();
        let in_use = |found: &Compared| found.same && found.in_use;
        if wanted.is_some_and(|change| change.even_if_unchanged)
            || !matches!(self.found.get(node), Some(Ok(found)) if in_use(found))
            || !draft.world.is_running(&service.name, node)
            || draft.world.apart(service, node).is_some()
        {
            return false;
        }
        let active = draft.observed_side(service);
        let checks = draft.own_checks(service, node, active.as_ref(), &BTreeSet::new());
        let mut seen = checks.iter().map(|it| draft.world.check(&it.on, &it.check));
        if !seen.all(|seen| seen.is_some_and(|seen| seen.verdict == Verdict::Ok)) {
            return false;
        }
        draft.report.add(Entry::AlreadyDone {
            subject: Subject::instance(&service.name, node),
            state: format!(
                "healthy, and runs with what its file {} shall say",
                self.file
            ),
        });
        true
    }

    /// Its agent would refuse the text: there is no plan. What it refuses whatever the text is, it has said by itself.
    fn is_refused(&self, draft: &mut Draft<'_>, service: &Service, node: &NodeName, why: &str) {
        let permission = Permission::File {
            service: service.name.clone(),
            file: self.file.clone(),
        };
        if draft.world.refusal(node, &permission).is_some() {
            return;
        }
        let by = format!(
            "its agent would refuse the text of its file {}: {why}",
            self.file
        );
        let subject = Subject::instance(&service.name, node);
        draft.report.blocked(subject, by, permits::remedy(node));
    }

    /// Tells what changes about the files of these instances, as far as it is known: what is the same on several nodes once.
    pub(crate) fn tell<'n>(
        &self,
        draft: &mut Draft<'_>,
        service: &Service,
        nodes: impl Iterator<Item = &'n NodeName>,
    ) {
        let mut differences: BTreeMap<&Difference, BTreeSet<NodeName>> = BTreeMap::new();
        for node in nodes {
            let text = match self.found.get(node) {
                // Offline nobody was asked.
                None => continue,
                Some(Ok(found)) if !found.same => {
                    let on = differences.entry(&found.difference).or_default();
                    on.insert(node.clone());
                    continue;
                }
                Some(Ok(found)) if found.in_use => continue,
                Some(Ok(_)) => format!(
                    "its file {} says so already, and nothing proves that it was started since{}: it is restarted",
                    self.file,
                    who_would_know(service)
                ),
                Some(Err(Untold::Unknown(why))) => {
                    format!("what its file {} says now is not known: {why}", self.file)
                }
                Some(Err(Untold::Refused(why))) => {
                    self.is_refused(draft, service, node, why);
                    continue;
                }
            };
            draft
                .report
                .warn(Subject::instance(&service.name, node), text);
        }
        let mut shown = 0_usize;
        for (difference, on) in differences {
            let mut difference = difference.clone();
            if let Difference::Lines(lines) = &difference {
                shown += lines.len();
                if shown > MAX_SHOWN {
                    let what = format!("all differences together have more than {MAX_SHOWN} bytes");
                    difference = Difference::Hidden(what);
                }
            }
            draft.report.add(Entry::Changes {
                service: service.name.clone(),
                file: self.file.clone(),
                on,
                difference,
            });
        }
    }
}
