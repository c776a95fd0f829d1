//! [`Spec::parse`]: the way from bytes to a valid spec.
//!
//! ```text
//! bytes ── load ──► tree ── read ──► spec ── verify ──► valid spec
//!        (limits)          (shapes)        (references, cycles, sense)
//!             └──────────────┴───────────────┴──► report: every problem, in the order of the file
//! ```

use super::problem::{Problem, Problems, Report};
use super::{Spec, read, verify, yaml};

/// A spec that can be used, and what is odd about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The spec.
    pub spec: Spec,
    /// Warnings, in the order of the file. [`Problems::new`] renders them.
    pub warnings: Vec<Problem>,
}

impl Spec {
    /// Reads a spec from the bytes of its file. `file_name` is for messages alone; nothing is opened.
    ///
    /// Time and memory are bounded whatever the bytes are: see [`MAX_BYTES`](super::MAX_BYTES),
    /// [`MAX_DEPTH`](super::MAX_DEPTH) and [`MAX_VALUES`](super::MAX_VALUES).
    ///
    /// # Errors
    /// With everything that is wrong, and the warnings, if anything is wrong.
    pub fn parse(bytes: &[u8], file_name: &str) -> Result<Parsed, Problems> {
        let report = Report::default();
        let spec = match yaml::load(bytes, &report) {
            Ok(tree) => {
                let spec = read::spec(&tree, &report);
                if let Some(spec) = &spec {
                    verify::verify(spec, &tree, &report);
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
