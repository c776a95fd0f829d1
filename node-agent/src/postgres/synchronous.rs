//! For whom commits wait.
//!
//! # Traps
//! * A session shows a setting as soon as it has read the file. Whether commits wait at all is decided by a word in shared memory that
//!   the checkpointer writes when *it* has read the file (`sync_standbys_defined`), which can be seconds later, in the middle of a
//!   checkpoint. Nothing shows that word. A checkpoint that was asked for afterwards does: the checkpointer reads its settings
//!   first. So when commits begin to wait, one is made; it is the price of the first call, and of none that only changes names.
//! * `streaming` says that a standby has caught up with what is sent, and a moment later it may be behind by any amount. What was
//!   acknowledged before commits began to wait is with it only when it has reported a position beyond that.
//! * Names are compared with `application_name`, without regard to case, and need quotes: names of nodes may hold what else
//!   would end them.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use interlock_model::names::NodeName;

use super::cluster::Site;
use super::deadline::Deadline;
use super::local::Talk;
use super::{Lsn, Trouble, files, follow, holders, observe};

/// The setting.
const NAMES: &str = "synchronous_standby_names";

/// The end of the log of a primary that is on disk; NULL of a standby. Not the end of what is written: on an idle server that may be
/// behind the head of a page that nobody ever gets.
const FLUSHED: &str = "SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_flush_lsn() END";

/// What stands for nobody: no node is called so, and a list of names may not be empty.
const NOBODY: &str = "-";

/// For whom commits wait: for so many of these, whichever are first (`ANY`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synchronous {
    /// How many have to have it on disk.
    pub needed: NonZeroU32,
    /// The nodes that count. Without as many of them no commit ends.
    pub nodes: BTreeSet<NodeName>,
}

impl fmt::Display for Synchronous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes.iter().map(NodeName::as_str);
        let nobody = self.nodes.is_empty().then_some(NOBODY);
        let quoted = |node| format!("\"{node}\"");
        let nodes: Vec<String> = nodes.chain(nobody).map(quoted).collect();
        write!(f, "ANY {} ({})", self.needed, nodes.join(", "))
    }
}

/// For whom commits are proven to wait. That the setting shows them proves nothing (see above).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// `synchronous_standby_names`, as it was set.
    pub names: String,
    /// The end of its log on disk when that was proven. Whatever was acknowledged before without waiting for them ends there or
    /// before: a standby that has this has all of it.
    pub from: Lsn,
}

/// What is proven; none if nothing is, or something is being changed.
pub(super) type Proof = Mutex<Option<Waits>>;

/// Looks at it, or changes it.
pub(super) fn locked(proof: &Proof) -> MutexGuard<'_, Option<Waits>> {
    // Every change is complete before anything can panic.
    proof.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets it, and waits until it is so.
pub(super) async fn set(
    site: &Site,
    wanted: Option<&Synchronous>,
    proof: &Proof,
    deadline: Deadline,
) -> Result<(), Trouble> {
    let value = wanted.map(ToString::to_string).unwrap_or_default();
    let waited = locked(proof).take().is_some();
    match Talk::local(&site.config, site.layout.owner, deadline).await {
        Ok(mut talk) => {
            if wanted.is_none() && is_nobody(site, &mut talk, deadline).await? {
                talk.close().await;
                return Ok(());
            }
            write(site, &value, deadline).await?;
            follow::reload(site, deadline).await?;
            follow::in_force(&mut talk, NAMES, &value, deadline).await?;
            if wanted.is_some() {
                if !waited {
                    deadline.within(talk.rows("CHECKPOINT")).await?;
                }
                let [from] = deadline.within(talk.row(FLUSHED)).await?;
                // A standby has acknowledged nothing: when it is promoted, it is asked again.
                let from = observe::lsn(from)?;
                *locked(proof) = from.map(|from| Waits { names: value, from });
            }
            talk.close().await;
            Ok(())
        }
        Err(Trouble::Connect(..)) => {
            let layout = site.layout.clone();
            let need = move || {
                holders::need_none(&layout.places(), layout.owner)?;
                let place = layout.settle()?;
                layout.need_data(place)
            };
            site.blocking(deadline, need).await?;
            write(site, &value, deadline).await
        }
        Err(trouble) => Err(trouble),
    }
}

/// Is nobody waited for, by what is in force and by what is written? Then there is nothing to be read again: in a planned move
/// nobody takes writes meanwhile.
async fn is_nobody(site: &Site, talk: &mut Talk, deadline: Deadline) -> Result<bool, Trouble> {
    let sql = format!("SELECT pg_catalog.current_setting('{NAMES}')");
    if !deadline.within(talk.value(&sql)).await?.is_empty() {
        return Ok(false);
    }
    let (layout, setting) = (site.layout.clone(), [(NAMES, Some(String::new()))]);
    let read = move || follow::has_settings(&layout.data, &setting);
    site.blocking(deadline, read).await
}

async fn write(site: &Site, value: &str, deadline: Deadline) -> Result<(), Trouble> {
    let (layout, setting) = (site.layout.clone(), [(NAMES, Some(value.to_owned()))]);
    let write = move || {
        if !files::exists(&layout.data)? {
            return Err(Trouble::NoData(layout.data.clone()));
        }
        follow::write_settings(&layout, &layout.data, &setting)
    };
    site.blocking(deadline, write).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes_are_quoted() {
        let nodes = ["db-2", "db.1"].map(|node| node.parse().unwrap());
        let synchronous = Synchronous {
            needed: NonZeroU32::MIN,
            nodes: nodes.into(),
        };
        assert_eq!(synchronous.to_string(), r#"ANY 1 ("db-2", "db.1")"#);
        let nobody = Synchronous {
            nodes: BTreeSet::new(),
            ..synchronous
        };
        assert_eq!(nobody.to_string(), r#"ANY 1 ("-")"#);
    }
}
