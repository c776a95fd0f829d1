//! What runs a database server of this machine.

use std::collections::BTreeMap;
use std::ops::Range;

use interlock_model::names::LocalName;
use toml::Spanned;

use super::check::Check;
use super::commands::Process;
use super::named::Named;

/// What runs a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runner {
    /// A unit of systemd, with its suffix.
    Unit(String),
    /// A process of the agent's file.
    Process(LocalName),
}

impl Runner {
    /// The unit, if one does.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        match self {
            Self::Unit(unit) => Some(unit),
            Self::Process(_) => None,
        }
    }
}

impl Check<'_> {
    /// Exactly one of both; `example` is a unit that could be.
    pub(super) fn runner(
        &mut self,
        unit: Option<Spanned<String>>,
        process: Option<Spanned<LocalName>>,
        span: &Range<usize>,
        example: &str,
        processes: &BTreeMap<LocalName, Process>,
    ) -> Option<Runner> {
        match (unit, process) {
            (Some(unit), None) => Some(self.unit(unit)),
            (None, Some(process)) => Some(self.own_process(process, processes)),
            (None, None) | (Some(_), Some(_)) => {
                let remedy = format!("write unit = \"{example}\" or process = \"NAME\"");
                self.report(span, "a server is run by exactly one thing", remedy);
                None
            }
        }
    }

    fn unit(&mut self, given: Spanned<String>) -> Runner {
        let unit = given.get_ref();
        if !unit.contains('.') {
            let remedy = format!("write \"{unit}.service\"");
            self.report(
                &given.span(),
                format!("unit '{unit}' has no suffix"),
                remedy,
            );
        }
        Runner::Unit(given.into_inner())
    }

    fn own_process(
        &mut self,
        given: Spanned<LocalName>,
        processes: &BTreeMap<LocalName, Process>,
    ) -> Runner {
        self.knows(&given.span(), given.get_ref(), processes, Named::Process);
        Runner::Process(given.into_inner())
    }
}
