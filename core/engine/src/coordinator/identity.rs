//! Is a plug a node's own?
//!
//! A wrong plug takes another machine down, so that it is not believed because it stands in the spec: what the device
//! calls the plug is compared with what is known of the machine from elsewhere. Pure; asking and recording is done by
//! `verification`.
//!
//! # What is compared
//! * **A UUID**, where the plug is one or the device lists one: with the UUID that the node's own agent reads from its
//!   firmware. Hypervisors give it to the machine, so that both see the same one, and no other machine has it.
//! * **A name**: the alias that the device lists, or the plug itself where the device has no other name for it. It
//!   has to be the node's name, or the host name that its agent reports, and to stand in the list once.
//! * **The alias of the spec**, where it has one: it alone is compared then.
//!
//! # What it comes to
//! Equal is proof, another name is a contradiction, and everything else leaves it open: a device without names, without
//! a list, or that does not answer. Only a person can close that.

use interlock_model::names::NodeName;
use interlock_model::spec::NodePower;
use serde::{Deserialize, Serialize};

use super::uuid::Uuid;

/// What a plug's record rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The device calls it by a name of the node.
    Alias,
    /// The device knows the machine by the UUID that its agent reads.
    Uuid,
    /// A person says so.
    #[default]
    Attested,
}

/// A plug as its device lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPlug {
    /// What is given as `plug`.
    pub plug: String,
    /// What the device calls it besides.
    pub alias: Option<String>,
}

/// What a device answered to the question for its plugs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlugList {
    /// These.
    Plugs {
        /// The plugs.
        plugs: Vec<ListedPlug>,
        /// There are more than these.
        cut: bool,
    },
    /// Its fence agent offers no list.
    NotOffered,
    /// It did not answer, for this reason.
    Failed(String),
}

/// What is known of a machine from elsewhere than its power source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guest<'a> {
    /// The node's name, which its agent's certificate proves.
    pub(super) node: &'a NodeName,
    /// The host name that its agent reports, if no other node has the same.
    pub(super) hostname: Option<&'a str>,
    /// The UUID that its agent reads, if no other node has the same.
    pub(super) uuid: Option<&'a str>,
}

/// What the comparison came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The plug is the node's.
    Proven {
        /// By what.
        proof: Proof,
        /// In words.
        how: String,
    },
    /// It is another machine's.
    Contradicted {
        /// What the device would have to say.
        expected: String,
        /// What it says.
        found: String,
    },
    /// It cannot be told, for this reason.
    Open(String),
}

/// Compares.
pub(super) fn judge(power: &NodePower, guest: &Guest<'_>, list: &PlugList) -> Judgement {
    if power.alias.is_none()
        && let Some(judgement) = by_plug(power, guest)
    {
        return judgement;
    }
    let (plugs, cut) = match list {
        PlugList::Plugs { plugs, cut } => (plugs, *cut),
        PlugList::NotOffered => {
            return Judgement::Open(format!("{} cannot tell whose its plugs are", power.by));
        }
        PlugList::Failed(why) => {
            return Judgement::Open(format!("{} does not list its plugs: {why}", power.by));
        }
    };
    let listed = plugs.iter().find(|listed| listed.plug == power.plug);
    match (&power.alias, listed) {
        (Some(alias), _) => by_alias_of_spec(power, alias, listed),
        (None, Some(listed)) => by_name(power, guest, listed, plugs, cut),
        (None, None) => elsewhere(power, guest, plugs).unwrap_or_else(|| {
            Judgement::Open(format!("{} does not list plug {}", power.by, power.plug))
        }),
    }
}

/// Where the plug itself is the machine's UUID, the device is asked by the identity, and there is nothing to look up.
fn by_plug(power: &NodePower, guest: &Guest<'_>) -> Option<Judgement> {
    let plug: Uuid = power.plug.parse().ok()?;
    let own: Uuid = guest.uuid?.parse().ok()?;
    Some(if own.is_same_machine(plug) {
        Judgement::Proven {
            proof: Proof::Uuid,
            how: "the plug is the UUID that its agent reads".to_owned(),
        }
    } else {
        Judgement::Contradicted {
            expected: format!("UUID {own}, as the agent of {} reads it", guest.node),
            found: format!("UUID {plug} as the plug"),
        }
    })
}

fn by_alias_of_spec(power: &NodePower, alias: &str, listed: Option<&ListedPlug>) -> Judgement {
    let (device, plug) = (&power.by, &power.plug);
    let Some(listed) = listed else {
        return Judgement::Open(format!("{device} does not list plug {plug}"));
    };
    match &listed.alias {
        Some(found) if same(found, alias) => Judgement::Proven {
            proof: Proof::Alias,
            how: format!("{device} calls plug {plug} {found}, the alias in the spec"),
        },
        Some(found) => Judgement::Contradicted {
            expected: format!("{alias}, the alias in the spec"),
            found: found.clone(),
        },
        None => Judgement::Open(format!("{device} has no alias for plug {plug}")),
    }
}

fn by_name(
    power: &NodePower,
    guest: &Guest<'_>,
    listed: &ListedPlug,
    plugs: &[ListedPlug],
    cut: bool,
) -> Judgement {
    let (device, plug) = (&power.by, &power.plug);
    let uuid: Option<Uuid> = listed.alias.as_deref().and_then(|alias| alias.parse().ok());
    let own: Option<Uuid> = guest.uuid.and_then(|uuid| uuid.parse().ok());
    if let (Some(found), Some(own)) = (uuid, own) {
        return if own.is_same_machine(found) {
            Judgement::Proven {
                proof: Proof::Uuid,
                how: format!("{device} has plug {plug} with the UUID that its agent reads"),
            }
        } else {
            Judgement::Contradicted {
                expected: format!("UUID {own}, as the agent of {} reads it", guest.node),
                found: format!("UUID {found}"),
            }
        };
    }
    let name = name_of(listed);
    let Some(whose) = guest.is_called(name) else {
        return if listed.alias.is_some() && uuid.is_none() {
            Judgement::Contradicted {
                expected: guest.names(),
                found: name.to_owned(),
            }
        } else {
            elsewhere(power, guest, plugs)
                .unwrap_or_else(|| Judgement::Open(format!("{device} has no name for plug {plug}")))
        };
    };
    let namesakes = plugs
        .iter()
        .filter(|other| same(name_of(other), name))
        .count();
    if namesakes > 1 {
        return Judgement::Open(format!("{device} has {namesakes} plugs called {name}"));
    }
    if cut {
        return Judgement::Open(format!(
            "{device} lists more plugs than are read: another one may be called {name} as well"
        ));
    }
    Judgement::Proven {
        proof: Proof::Alias,
        how: format!("{device} calls plug {plug} {name}, {whose}"),
    }
}

/// The device has the node under another plug.
fn elsewhere(power: &NodePower, guest: &Guest<'_>, plugs: &[ListedPlug]) -> Option<Judgement> {
    let other = plugs
        .iter()
        .find(|other| other.plug != power.plug && guest.is_called(name_of(other)).is_some())?;
    Some(Judgement::Contradicted {
        expected: format!("{} at plug {}", guest.node, power.plug),
        found: format!("{} at plug {}", name_of(other), other.plug),
    })
}

/// What a device calls a plug: by its alias, or by the plug alone. A UUID is no name; it names only by itself.
fn name_of(listed: &ListedPlug) -> &str {
    match &listed.alias {
        Some(alias) if alias.parse::<Uuid>().is_err() => alias,
        _ => &listed.plug,
    }
}

fn same(a: &str, b: &str) -> bool {
    a.trim().eq_ignore_ascii_case(b.trim())
}

impl Guest<'_> {
    /// Is this one of its names, and which? A host name counts with its domain and without.
    fn is_called(&self, name: &str) -> Option<&'static str> {
        if same(name, self.node.as_str()) {
            return Some("the node's name");
        }
        let hostname = self.hostname?;
        let first = hostname.split('.').next().unwrap_or(hostname);
        (same(name, hostname) || same(name, first))
            .then_some("the host name that its agent reports")
    }

    fn names(&self) -> String {
        match self.hostname {
            Some(hostname) if !same(hostname, self.node.as_str()) => {
                format!("{} or its host name {hostname}", self.node)
            }
            _ => self.node.to_string(),
        }
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
