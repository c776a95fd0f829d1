//! Replication slots: what keeps the log of a server until a standby has it.
//!
//! A slot that nobody uses keeps the log for ever and fills the disk: those of nodes that are not wanted any more are removed. One
//! whose log the server has given up (`max_slot_wal_keep_size`) is of no use to anybody and is made anew.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::names::NodeName;

use super::Trouble;
use super::cluster::Site;
use super::deadline::Deadline;
use super::local::Talk;
use super::promote::not_running;
use super::slot::{PREFIX, SlotName};

/// What was done with the slots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slots {
    /// These were made.
    pub made: Vec<String>,
    /// These were removed.
    pub removed: Vec<String>,
    /// Nobody wants these, but somebody uses them: they stay for now.
    pub in_use: Vec<String>,
}

/// Makes what is missing, removes what nobody wants.
pub(super) async fn set(
    site: &Site,
    nodes: &BTreeSet<NodeName>,
    deadline: Deadline,
) -> Result<Slots, Trouble> {
    let talk = Talk::local(&site.config, site.layout.owner, deadline).await;
    let mut talk = talk.map_err(not_running)?;
    let slots = deadline.within(arrange(&mut talk, nodes)).await?;
    talk.close().await;
    Ok(slots)
}

async fn arrange(talk: &mut Talk, nodes: &BTreeSet<NodeName>) -> Result<Slots, Trouble> {
    let list = format!(
        "SELECT slot_name, active, wal_status = 'lost' FROM pg_catalog.pg_replication_slots \
         WHERE slot_type = 'physical' AND pg_catalog.starts_with(slot_name, '{PREFIX}')"
    );
    let mut there = BTreeMap::new();
    for row in talk.rows(&list).await? {
        let row: [Option<String>; 3] = row.try_into().map_err(|_| talk.odd(&list))?;
        let [name, active, lost] = row.map(Option::unwrap_or_default);
        there.insert(name, (active == "t", lost == "t"));
    }
    let wanted: BTreeSet<String> = nodes
        .iter()
        .map(|node| SlotName::of(node).to_string())
        .collect();
    let mut slots = Slots::default();
    for (name, (active, lost)) in &there {
        if wanted.contains(name) && !lost {
            continue;
        }
        if *active || !remove(talk, name).await? {
            slots.in_use.push(name.clone());
        } else {
            slots.removed.push(name.clone());
        }
    }
    for name in wanted {
        let kept = there.contains_key(&name) && !slots.removed.contains(&name);
        if kept {
            continue;
        }
        // From now on it keeps the log, not only from when it is first used.
        let sql = format!("SELECT pg_catalog.pg_create_physical_replication_slot('{name}', true)");
        match talk.rows(&sql).await {
            // There is one already.
            Err(Trouble::Refused { code, .. }) if code == "42710" => {}
            made => {
                made?;
                slots.made.push(name);
            }
        }
    }
    Ok(slots)
}

/// Removes one; false if it is in use.
async fn remove(talk: &mut Talk, name: &str) -> Result<bool, Trouble> {
    // What begins like ours may have been made by hand, but names of slots hold nothing that ends a quote.
    let sql = format!("SELECT pg_catalog.pg_drop_replication_slot('{name}')");
    match talk.rows(&sql).await {
        Ok(_) => Ok(true),
        // In use by now, or gone.
        Err(Trouble::Refused { code, .. }) if code == "55006" => Ok(false),
        Err(Trouble::Refused { code, .. }) if code == "42704" => Ok(true),
        Err(trouble) => Err(trouble),
    }
}
