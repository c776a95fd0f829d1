//! The server that a standby follows.

use std::path::Path;

use interlock_model::names::NodeName;

use super::conninfo::conninfo;
use super::slot::SlotName;

/// How long a tool or a receiver tries to connect, in seconds: a host that is down refuses nothing, and without this the kernel
/// tries for two minutes.
const CONNECT_SECONDS: &str = "5";

/// How a tool is called before the name of its node. The blank after it makes it a name that no node has.
const TOOL: &str = "interlock for";

/// The server that a standby follows, as it is reached from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its node.
    pub node: NodeName,
    /// Its address for other servers of the cluster.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who logs in: with `REPLICATION`, and for a rewind with the rights that pg_rewind(1) lists.
    pub user: String,
    /// The slot that it keeps for this node: it keeps the log until this node has it. It must be there
    /// ([`Cluster::slots`](super::Cluster::slots)), or nothing is received. None to do without.
    pub slot: Option<SlotName>,
}

impl Upstream {
    /// For `primary_conninfo`: what the receiver connects with. `own` is how the upstream will name this node.
    pub(super) fn for_receiver(&self, own: &NodeName, passfile: Option<&Path>) -> String {
        let passfile = passfile.map(|path| path.display().to_string());
        self.conninfo(own.as_str(), None, passfile.as_deref())
    }

    /// For a tool, which has the password file in its environment. It is never called as its node is: pg_basebackup(1) receives
    /// the log by a slot and reports what it has on disk, as a standby does, and commits would wait for a copy that is not
    /// complete and may never be.
    pub(super) fn for_tool(&self, own: &NodeName, database: &str) -> String {
        self.conninfo(&format!("{TOOL} {own}"), Some(database), None)
    }

    fn conninfo(&self, name: &str, database: Option<&str>, passfile: Option<&str>) -> String {
        let port = self.port.to_string();
        let always = [
            ("host", self.host.as_str()),
            ("port", &port),
            ("user", &self.user),
            ("application_name", name),
            ("connect_timeout", CONNECT_SECONDS),
        ];
        let database = database.map(|database| ("dbname", database));
        let passfile = passfile.map(|passfile| ("passfile", passfile));
        conninfo(always.into_iter().chain(database).chain(passfile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_told_where_the_password_is_and_never_what_it_is() {
        let upstream = Upstream {
            node: "db1".parse().unwrap(),
            host: "10.0.0.1".to_owned(),
            port: 5433,
            user: "repl".to_owned(),
            slot: None,
        };
        let own = "db2".parse().unwrap();
        assert_eq!(
            upstream.for_receiver(&own, Some(Path::new("/etc/pass"))),
            "host='10.0.0.1' port='5433' user='repl' application_name='db2' connect_timeout='5' passfile='/etc/pass'"
        );
    }

    #[test]
    fn a_tool_is_never_taken_for_the_standby_of_its_node() {
        let upstream = Upstream {
            node: "db1".parse().unwrap(),
            host: "10.0.0.1".to_owned(),
            port: 5433,
            user: "repl".to_owned(),
            slot: None,
        };
        let own = "db2".parse().unwrap();
        let source = upstream.for_tool(&own, "postgres");
        assert!(source.ends_with(" dbname='postgres'"), "{source}");
        assert!(
            source.contains(" application_name='interlock for db2' "),
            "{source}"
        );
        let name: Result<NodeName, _> = format!("{TOOL} {own}").parse();
        assert!(name.is_err(), "no node is called so");
    }
}
