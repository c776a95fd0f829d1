//! [`Spec::parse`]: the way from bytes to a valid spec.
//!
//! ```text
//! bytes ── load ──► tree ── read ──► spec ── verify ──► valid spec
//!        (limits)          (shapes)        (references, cycles, sense)
//!             └──────────────┴───────────────┴──► report: every problem, in the order of the file
//! ```

use std::collections::BTreeMap;

use super::problem::{Problem, Problems, Report};
use super::{Spec, read, verify, yaml};
use crate::names::NodeName;
use crate::ocf::Installed;

/// A spec that can be used, and what is odd about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The spec.
    pub spec: Spec,
    /// Warnings, in the order of the file. [`Problems::new`] renders them.
    pub warnings: Vec<Problem>,
}

/// A spec that was accepted once, maybe by a version with fewer rules.
#[derive(Debug)]
pub enum Stored {
    /// It breaks no rule.
    Sound(Spec),
    /// It breaks rules, and still says for each node and service what it is made of.
    Broken(Spec, Problems),
    /// What it says of nodes or services cannot be told any more.
    Unreadable(Problems),
}

impl Spec {
    /// Reads a spec that was accepted when it was applied. Rules that it breaks by now are told, and it is given all the
    /// same if nothing but checks could not be read: a check that is not understood stays *unknown*, which is never taken
    /// for OK; a service whose parts are not understood would be taken for something else than it is.
    #[must_use]
    pub fn read_stored(bytes: &[u8], file_name: &str) -> Stored {
        let report = Report::default();
        let spec = match yaml::load(bytes, &report) {
            Ok(tree) => {
                let spec = read::spec(&tree, &report);
                let usable = report.errors_are_all(|problem| is_of_check(&problem.path));
                if let Some(spec) = &spec {
                    verify::verify(spec, &tree, &BTreeMap::new(), &report);
                }
                spec.filter(|_| usable)
            }
            Err(problem) => {
                report.add(*problem);
                None
            }
        };
        match spec {
            Some(spec) if !report.has_errors() => Stored::Sound(spec),
            Some(spec) => Stored::Broken(spec, report.into_problems(file_name)),
            None => Stored::Unreadable(report.into_problems(file_name)),
        }
    }

    /// Reads a spec from the bytes of its file. `file_name` is for messages alone; nothing is opened.
    ///
    /// Time and memory are bounded whatever the bytes are: see [`MAX_BYTES`](super::MAX_BYTES),
    /// [`MAX_DEPTH`](super::MAX_DEPTH) and [`MAX_VALUES`](super::MAX_VALUES).
    ///
    /// # Errors
    /// With everything that is wrong, and the warnings, if anything is wrong.
    pub fn parse(bytes: &[u8], file_name: &str) -> Result<Parsed, Problems> {
        Self::parse_for(bytes, file_name, &BTreeMap::new())
    }

    /// The same, and holds what the spec asks of resource agents against those of the nodes, as far as they are known.
    ///
    /// # Errors
    /// See [`parse`](Self::parse).
    pub fn parse_for(
        bytes: &[u8],
        file_name: &str,
        agents: &BTreeMap<NodeName, Installed>,
    ) -> Result<Parsed, Problems> {
        let report = Report::default();
        let spec = match yaml::load(bytes, &report) {
            Ok(tree) => {
                let spec = read::spec(&tree, &report);
                if let Some(spec) = &spec {
                    verify::verify(spec, &tree, agents, &report);
                    verify::verify_new(spec, &tree, agents, &report);
                }
                spec
            }
            Err(problem) => {
                report.add(*problem);
                None
            }
        };
        match spec.filter(|_| !report.has_errors()) {
            Some(spec) => Ok(Parsed {
                spec,
                warnings: report.into_problems(file_name).problems,
            }),
            None => Err(report.into_problems(file_name)),
        }
    }
}

/// Is this the path of something within a check: `services.web.checks.http.every`?
fn is_of_check(path: &str) -> bool {
    let below = path.strip_prefix("services.");
    below.is_some_and(|below| below.contains(".checks."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(services: &str) -> Stored {
        let text =
            format!("cluster: c\nnodes: {{ n: {{ address: 10.0.0.1 }} }}\nservices:\n{services}");
        Spec::read_stored(text.as_bytes(), "stored.yaml")
    }

    /// Nobody could plan any more after an update, and no reader would know less.
    #[test]
    fn a_password_that_was_accepted_in_plain_is_used_and_is_not_accepted_again() {
        let text = "cluster: c\npower: { k: { fence: fence_x, via: [n], options: { passwd: geheim } } }\nnodes: { n: { \
                    address: 10.0.0.1 } }\n";
        let stored = Spec::read_stored(text.as_bytes(), "stored");
        assert!(matches!(stored, Stored::Sound(_)), "{stored:?}");
        let refused = Spec::parse(text.as_bytes(), "new").unwrap_err();
        let told = refused.render(text.as_bytes());
        assert!(told.contains("the passwd stands in the spec"), "{told}");
        assert!(told.contains("write { secret: NAME }"), "{told}");
    }

    #[test]
    fn what_breaks_a_rule_is_told_and_usable_as_long_as_its_parts_are_understood() {
        let sound = "  web: { nodes: [n], manager: { process: { name: web } } }\n";
        assert!(matches!(stored(sound), Stored::Sound(_)));

        let missing =
            "  web: { nodes: [n], manager: { process: { name: web } }, requires: [db] }\n";
        let Stored::Broken(spec, problems) = stored(missing) else {
            panic!("a reference")
        };
        assert!(spec.services["web"].nodes.len() == 1 && problems.has_errors());

        let check = "  web: { nodes: [n], manager: { process: { name: web } }, checks: { c: { dns: x } } }\n";
        assert!(matches!(stored(check), Stored::Broken(..)));
    }

    #[test]
    fn what_cannot_be_understood_of_a_service_makes_no_spec() {
        for services in [
            "  web: { nodes: [n], manager: { wasm: { name: web } } }\n",
            "  web: { nodes: [n], manager: { process: { name: web } }, restarter: x }\n",
            "  web: [\n",
        ] {
            assert!(
                matches!(stored(services), Stored::Unreadable(_)),
                "{services}"
            );
        }
    }
}
