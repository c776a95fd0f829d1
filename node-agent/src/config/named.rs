//! Tables that others name: a name must lead to one of this file.

use std::collections::BTreeMap;
use std::ops::Range;

use interlock_model::names::LocalName;
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
}
