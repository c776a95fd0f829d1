//! What an agent is to observe and to guard.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_engine::agent::autonomy::Mark;
use interlock_model::action::{FenceCall, Part, ShutdownBy};
use interlock_model::check::{Check, CheckId};
use interlock_model::ids::{Generation, Term};
use interlock_model::member::HeldMember;
use interlock_model::names::{LocalName, ServiceName};
use interlock_model::postgres::Peer;
use interlock_model::spec::{Clients, GuardPolicy};
use interlock_proto::convert::{self, Invalid};
use interlock_proto::v1;
use serde::{Deserialize, Serialize};

/// What an agent is to observe and to guard. Starts and stops nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Assignment {
    /// Its age.
    pub mark: Mark,
    /// The instances of this node.
    pub instances: BTreeMap<ServiceName, AssignedInstance>,
    /// The checks that run on this node.
    #[serde(with = "pairs")]
    pub checks: BTreeMap<CheckId, Check>,
    /// Checks that this version cannot run, with the reason: they are *unknown*, not absent.
    #[serde(with = "pairs")]
    pub unusable: BTreeMap<CheckId, String>,
    /// How plans have the agent shut its machine down; none if none does.
    #[serde(default)]
    pub shutdown: Option<ShutdownBy>,
    /// Do plans have the agent restart its machine?
    #[serde(default)]
    pub reboot: bool,
    /// A question for each power device that is reached through this node: only for saying whether it would be refused.
    #[serde(default)]
    pub fences: Vec<FenceCall>,
}

/// One instance of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedInstance {
    /// Its parts, started downwards and stopped upwards.
    pub parts: Vec<Part>,
    /// How it is guarded.
    pub guard: GuardPolicy,
    /// Is it an instance of an exclusive service? Then nobody starts it by hand (safety rule E16).
    pub exclusive: bool,
    /// Does it come up with its machine?
    #[serde(default)]
    pub autostart: bool,
    /// Of a load balancer: the members that are looked after here.
    #[serde(default)]
    pub members: Vec<HeldMember>,
    /// What only the primary has, in starting order.
    #[serde(default)]
    pub primary_parts: Vec<Part>,
    /// How those who write reach the primary, if the service is leased.
    #[serde(default)]
    pub lease: Option<Clients>,
    /// Where the other instances are, if the service is leased.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// The files that a restart may write here.
    #[serde(default)]
    pub files: Vec<LocalName>,
}

impl Assignment {
    /// Reads a message. A check of a kind that this version does not know does not spoil the rest.
    ///
    /// # Errors
    /// If an instance cannot be understood: an agent that knew only half of an instance would call it running.
    pub fn from_wire(wire: &v1::Assignment) -> Result<Self, Invalid> {
        let mark = Mark {
            term: Term(wire.term),
            generation: Generation(wire.generation),
        };
        // What is not understood of a device is refused when it is asked for.
        let fence = |wire| convert::fence_from_wire(wire).ok();
        let shutdown = wire.shutdown.map(convert::shutdown_from_wire);
        let mut assignment = Self {
            mark,
            shutdown,
            reboot: wire.reboot.unwrap_or(shutdown == Some(ShutdownBy::Agent)),
            fences: wire.fences.iter().filter_map(fence).collect(),
            ..Self::default()
        };
        for instance in &wire.instances {
            let service = convert::name("assignment.instances.service", &instance.service)?;
            let parts = instance
                .parts
                .iter()
                .map(convert::part_from_wire)
                .collect::<Result<_, _>>()?;
            let primary_parts = instance.primary_parts.iter().map(convert::part_from_wire);
            let primary_parts = primary_parts.collect::<Result<_, _>>()?;
            let peers = instance.lease.iter().flat_map(|lease| &lease.peers);
            let peers = peers
                .map(convert::peer_from_wire)
                .collect::<Result<_, _>>()?;
            let lease = instance
                .lease
                .as_ref()
                .map(|lease| match lease.clients_by_address {
                    true => Clients::Address,
                    false => Clients::Any,
                });
            let guard = instance.guard.unwrap_or_default();
            let guard = GuardPolicy {
                budget: guard.budget,
                window: Duration::from_millis(guard.window_ms),
                backoff: Duration::from_millis(guard.backoff_ms),
            };
            let members = instance.members.iter().map(convert::held_from_wire);
            let members = members.collect::<Result<_, _>>()?;
            let files = instance.files.iter();
            let files = files
                .map(|file| convert::name("assignment.instances.files", file))
                .collect::<Result<_, _>>()?;
            let (exclusive, autostart) = (instance.exclusive, instance.autostart);
            assignment.instances.insert(
                service,
                AssignedInstance {
                    parts,
                    guard,
                    exclusive,
                    autostart,
                    members,
                    primary_parts,
                    lease,
                    peers,
                    files,
                },
            );
        }
        for check in &wire.checks {
            match convert::check_from_wire(check) {
                Ok((id, check)) => drop(assignment.checks.insert(id, check)),
                Err(problem) => {
                    let id = CheckId {
                        service: convert::name("assignment.checks.service", &check.service)?,
                        check: convert::name("assignment.checks.check", &check.check)?,
                    };
                    tracing::warn!(check = %id, %problem, "this check cannot be run here and stays unknown");
                    assignment.unusable.insert(id, problem.to_string());
                }
            }
        }
        Ok(assignment)
    }
}

/// Maps whose keys are no texts, as lists of pairs: JSON has no other keys than texts.
mod pairs {
    use std::collections::BTreeMap;

    use serde::de::DeserializeOwned;
    use serde::{Deserialize as _, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<
        'de,
        K: DeserializeOwned + Ord,
        V: DeserializeOwned,
        D: Deserializer<'de>,
    >(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?
            .into_iter()
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> v1::Assignment {
        let part = v1::Part {
            part: Some(v1::part::Part::Process("web".into())),
        };
        let check = |name: &str, kind| v1::AssignedCheck {
            service: "web".into(),
            check: name.into(),
            every_ms: 1000,
            timeout_ms: 500,
            kind,
            ..v1::AssignedCheck::default()
        };
        let tcp = v1::assigned_check::Kind::Tcp(v1::TcpCheck {
            target: "127.0.0.1:80".into(),
        });
        v1::Assignment {
            term: 3,
            generation: 7,
            instances: vec![v1::AssignedInstance {
                service: "web".into(),
                parts: vec![part],
                guard: Some(v1::GuardPolicy {
                    budget: 5,
                    window_ms: 60_000,
                    backoff_ms: 100,
                }),
                exclusive: true,
                autostart: true,
                ..v1::AssignedInstance::default()
            }],
            checks: vec![check("port", Some(tcp)), check("future", None)],
            ..v1::Assignment::default()
        }
    }

    #[test]
    fn an_assignment_survives_its_way_to_the_disk_and_back() {
        let assignment = Assignment::from_wire(&wire()).unwrap();
        let bytes = serde_json::to_vec(&assignment).unwrap();
        assert_eq!(
            serde_json::from_slice::<Assignment>(&bytes).unwrap(),
            assignment
        );
    }

    #[test]
    fn a_check_of_a_later_version_is_kept_as_unusable_and_an_instance_of_one_is_refused() {
        let assignment = Assignment::from_wire(&wire()).unwrap();
        assert_eq!(assignment.checks.len(), 1);
        assert!(
            assignment
                .unusable
                .values()
                .all(|why| why.contains("does not know")),
            "{assignment:?}"
        );
        let mut wire = wire();
        wire.instances[0].parts.push(v1::Part { part: None });
        assert!(Assignment::from_wire(&wire).is_err());
    }
}
