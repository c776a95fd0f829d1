//! Which logs there are on this node: what the agent's own file names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use interlock_model::names::ServiceName;

use super::glob::Glob;
use super::private::Private;
use crate::config::Config;

/// The log of what processes print; no `[logs.NAME]` has this name.
pub(super) const PROCESS: &str = "process";

/// The log of what units write to the journal; no `[logs.NAME]` has this name.
pub(super) const JOURNAL: &str = "journal";

/// Files of a log that one glob means.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// The log's name.
    pub(super) log: String,
    /// What stands before a path below the root in the name of a file: the root itself, so that the files of two globs
    /// of one log differ. Nothing for what processes print.
    prefix: String,
    /// Which files.
    pub(super) glob: Glob,
    /// Whose log it is.
    pub(super) service: ServiceName,
    /// What is not read, whatever the glob means.
    pub(super) private: Private,
}

impl Files {
    /// What a file is called: the whole path without its first `/`, or a name alone.
    pub(super) fn name(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The path below the root of the file that is called so.
    pub(super) fn path<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&self.prefix)
    }
}

/// What a service's log is.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Files.
    Files(Files),
    /// The journal of a unit.
    Journal(String),
}

/// The logs of this node.
#[derive(Debug)]
pub(super) struct Catalog {
    /// The agent's file, for what it does not name.
    pub(super) file: PathBuf,
    /// All files, by the order of the agent's file.
    pub(super) files: Vec<Files>,
    /// Units with the services they are of, each unit once.
    pub(super) units: BTreeMap<String, Vec<ServiceName>>,
    /// The program that reads the journal, and its first arguments.
    pub(super) journalctl: Vec<String>,
}

impl Catalog {
    /// What this file names.
    pub(super) fn of(config: &Config) -> Self {
        let private = &Private::of(config);
        let named = config.logs.iter().flat_map(|(name, log)| {
            log.globs.iter().map(move |glob| {
                let root = glob.root().to_string_lossy();
                let root = root.trim_matches('/');
                Files {
                    log: name.to_string(),
                    prefix: if root.is_empty() {
                        String::new()
                    } else {
                        format!("{root}/")
                    },
                    glob: glob.clone(),
                    service: log.service.clone(),
                    private: private.clone(),
                }
            })
        });
        let logs = config.state_dir.join("logs");
        let printed = config
            .allow
            .services
            .iter()
            .flat_map(|(service, managers)| {
                managers
                    .process
                    .iter()
                    .map(move |process| (service, process))
            })
            .map(|(service, process)| Files {
                log: PROCESS.to_owned(),
                prefix: String::new(),
                // The newest, and the one before it (module `capture` of the shim).
                glob: Glob::below(logs.clone(), format!("{process}.log*")),
                service: service.clone(),
                private: private.clone(),
            });
        let mut units: BTreeMap<String, Vec<ServiceName>> = BTreeMap::new();
        for (service, managers) in &config.allow.services {
            for unit in &managers.systemd {
                units.entry(unit.clone()).or_default().push(service.clone());
            }
        }
        Self {
            file: config.allow.file.clone(),
            files: named.chain(printed).collect(),
            units,
            journalctl: config.journalctl.clone(),
        }
    }

    /// What a person means who wants to see the log of this service, or the log of this name.
    pub(super) fn sources(&self, wanted: &str) -> Vec<Source> {
        let is_meant = |files: &&Files| files.service.as_str() == wanted || files.log == wanted;
        let files = self
            .files
            .iter()
            .filter(is_meant)
            .cloned()
            .map(Source::Files);
        let units = self
            .units
            .iter()
            .filter(|(_, services)| services.iter().any(|service| service.as_str() == wanted));
        files
            .chain(units.map(|(unit, _)| Source::Journal(unit.clone())))
            .collect()
    }

    /// Why nothing is there for a service.
    pub(super) fn nothing(&self, wanted: &str) -> String {
        let mut known: Vec<&str> = self
            .files
            .iter()
            .flat_map(|files| [files.service.as_str(), files.log.as_str()])
            .filter(|name| *name != PROCESS)
            .chain(self.units.values().flatten().map(ServiceName::as_str))
            .collect();
        known.sort_unstable();
        known.dedup();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        format!(
            "nothing on this node is named as a log of {wanted}; those of these are: {known}. To name some, write \
             `globs = [\"/PATH/*.log\"]` under [logs.{wanted}] in {}",
            self.file.display()
        )
    }
}

#[cfg(test)]
impl Files {
    /// Files of a log `app`.
    pub(super) fn of_test(glob: Glob) -> Self {
        Self {
            log: "app".to_owned(),
            prefix: String::new(),
            glob,
            service: "app".parse().unwrap(),
            private: Private::default(),
        }
    }
}
