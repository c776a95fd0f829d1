//! Tables that others name: a name must lead to one of this file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use interlock_model::names::{LocalName, ServiceName};
use toml::Spanned;

use super::check::Check;
use super::raw;

/// What a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// `[process.NAME]`.
    Process,
    /// `[file.NAME]`.
    File,
    /// `[postgres.NAME]`.
    Postgres,
    /// `[redis.NAME]`.
    Redis,
    /// `[mariadb.NAME]`.
    Mariadb,
}

impl Named {
    /// What people call it, what the file does, and the key that it needs at least.
    const fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Process => ("process", "process", "command"),
            Self::File => ("file", "file", "path"),
            Self::Postgres => ("PostgreSQL server", "postgres", "data"),
            Self::Redis => ("Redis server", "redis", "config"),
            Self::Mariadb => ("MariaDB server", "mariadb", "config"),
        }
    }
}

impl Check<'_> {
    /// Looks whether a name leads somewhere.
    pub(super) fn knows<D>(
        &mut self,
        span: &Range<usize>,
        name: &LocalName,
        defined: &BTreeMap<LocalName, D>,
        named: Named,
    ) {
        if !defined.contains_key(name) {
            let (what, table, key) = named.words();
            let remedy = format!("add [{table}.{name}] with its `{key}`");
            self.report(span, format!("there is no {what} named {name}"), remedy);
        }
    }

    /// Looks whether what the cluster is permitted to operate is defined; `of` says which names of a service.
    pub(super) fn knows_all<D>(
        &mut self,
        allow: &raw::Allow,
        of: impl Fn(&raw::Managers) -> &[Spanned<LocalName>],
        defined: &BTreeMap<LocalName, D>,
        named: Named,
    ) {
        let services = allow.services.values();
        for name in services.flat_map(|managers| of(managers.get_ref())) {
            self.knows(&name.span(), name.get_ref(), defined, named);
        }
    }

    /// Looks whether two services have what one of them alone can have: who stops the one would stop the other. Returns which
    /// do, and why. That refuses these alone: what went before this was looked at must not keep an agent from starting.
    pub(super) fn contested(&mut self, allow: &raw::Allow) -> BTreeMap<ServiceName, String> {
        let mut owners: BTreeMap<(&str, String), &ServiceName> = BTreeMap::new();
        let mut contested: BTreeMap<ServiceName, Vec<String>> = BTreeMap::new();
        for (service, managers) in &allow.services {
            for (span, what, name) in parts(managers.get_ref()) {
                let part = format!("{what} {name}");
                match owners.entry((what, name)) {
                    Entry::Vacant(place) => drop(place.insert(service)),
                    Entry::Occupied(owner) if *owner.get() == service => {}
                    Entry::Occupied(owner) => {
                        let owner: &ServiceName = owner.get();
                        self.tolerate(
                            &span,
                            format!("{part} is {owner}'s already"),
                            "leave it to one of the two services",
                        );
                        for (one, other) in [(service, owner), (owner, service)] {
                            let why = format!("{part} is {other}'s as well");
                            contested.entry(one.clone()).or_default().push(why);
                        }
                    }
                }
            }
        }
        let contested = contested.into_iter();
        contested
            .map(|(service, why)| (service, why.join(", ")))
            .collect()
    }
}

/// What the cluster may operate of a service: where that is said, the manager, and the name that it has there.
fn parts(managers: &raw::Managers) -> Vec<(Range<usize>, &'static str, String)> {
    let mut parts = Vec::new();
    let mut add = |what, span, name: &dyn ToString| parts.push((span, what, name.to_string()));
    for unit in &managers.systemd {
        add("systemd", unit.span(), unit.get_ref());
    }
    if let Some(process) = &managers.process {
        for name in process.get_ref().0.iter() {
            add("process", process.span(), name);
        }
    }
    if let Some(exec) = &managers.exec {
        add("exec", exec.span(), exec.get_ref());
    }
    let named = [
        ("postgres", &managers.postgres),
        ("redis", &managers.redis),
        ("mariadb", &managers.mariadb),
    ];
    for (what, names) in named {
        for name in names {
            add(what, name.span(), name.get_ref());
        }
    }
    parts
}
