//! Plugs that were matched with their nodes: no plan switches another one.
//!
//! A match is a record in the store, so that it outlives this process. It ends when something that it rests on changes:
//! the device, its fence agent or options, the plug or alias of the spec, the UUID of the machine; or when the device
//! says that the plug is another machine's. Its end is durable too: what was true once need not be true again.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_model::action::Power;
use interlock_model::names::{NodeName, PowerName};
use interlock_model::plan::Digest;
use interlock_model::spec::{NodePower, Spec};
use interlock_model::time::Now;

use super::Coordinator;
use super::identity::{Guest, Judgement, PlugList, Proof, judge};
use super::records::{self, Verified, Write};

/// What was found out about the plug of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The node.
    pub node: NodeName,
    /// Its power device.
    pub device: PowerName,
    /// Its plug there.
    pub plug: String,
    /// What the device says about it now.
    pub power: Power,
    /// Whether the plug is the node's.
    pub standing: Standing,
    /// What was seen now, and what to do about it.
    pub detail: String,
}

/// Whether a plug is its node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is; this is the record.
    Proven(Verified),
    /// It is another machine's.
    Contradicted {
        /// What the device would have to say.
        expected: String,
        /// What it says.
        found: String,
    },
    /// Nothing proves it.
    Unproven,
}

/// What a record depends on besides device, plug and machine.
fn depends_on(spec: &Spec, power: &NodePower) -> Option<Digest> {
    let device = spec.power.get(&power.by)?;
    // Maps with text keys and texts: this cannot fail.
    let bytes =
        serde_json::to_vec(&(&device.fence, &device.options, &power.alias)).unwrap_or_default();
    Some(Digest::of(&bytes))
}

fn is_of(verified: &Verified, spec: &Spec, node: &NodeName) -> bool {
    let power = spec.nodes.get(node).and_then(|node| node.power.as_ref());
    power.is_some_and(|power| {
        verified.device == power.by.as_str()
            && verified.plug == power.plug
            && verified.depends_on.is_some()
            && verified.depends_on == depends_on(spec, power)
    })
}

impl Coordinator {
    /// The nodes whose plug is verified, as the current spec names it.
    #[must_use]
    pub fn verified_nodes(&self) -> BTreeSet<NodeName> {
        self.verified
            .keys()
            .filter(|node| self.verification(node).is_some())
            .cloned()
            .collect()
    }

    /// How a node's plug was verified, if it was and everything that it depends on is still the same.
    #[must_use]
    pub fn verification(&self, node: &NodeName) -> Option<&Verified> {
        let applied = self.applied.as_ref()?;
        self.verified
            .get(node)
            .filter(|verified| is_of(verified, &applied.spec, node))
    }

    /// Begins to find out whether the plugs of these nodes are theirs. [`Coordinator::finding`] tells what came of it,
    /// with the time of this call as its `since`.
    pub fn begin_verification(&mut self, nodes: &[NodeName], now: Now) {
        self.ask_to_verify(nodes, now);
    }

    /// What came of it for one node, from answers to questions since `since`; none while they are awaited. `at_last`
    /// takes a missing answer for *unknown*. A match is recorded in the name of `by`, and by `attest`, the reason of a
    /// person, where nothing speaks for or against it; a contradiction ends the record.
    pub fn finding(
        &mut self,
        node: &NodeName,
        since: Duration,
        at_last: bool,
        attest: Option<&str>,
        by: &str,
        now: Now,
    ) -> Option<Finding> {
        let power = self.spec()?.nodes.get(node)?.power.clone()?;
        let (said, why, off_but_heard) = match self.settle(node, now) {
            Doubted::Wait if !at_last => return None,
            Doubted::Refuted => (Power::Off, String::new(), true),
            Doubted::Wait | Doubted::Settled => match self.view.power_since(node, since) {
                Some((said, detail)) => (said, detail.to_owned(), false),
                None if at_last => (Power::Unknown, "no answer in time".to_owned(), false),
                None => return None,
            },
        };
        let spec = self.spec()?;
        let answers = |since| {
            let off = said == Power::Off && !off_but_heard;
            off.then(|| self.view.answers(&spec, node, since, now))?
        };
        // What was green before the question may have gone off since: the next result tells.
        let (answers, answered) = (answers(since), answers(Duration::ZERO));
        if answers.is_none() && answered.is_some() && !at_last {
            return None;
        }
        let listing = self
            .lists
            .get(&power.by)
            .filter(|listing| listing.at >= since);
        let no_answer = PlugList::Failed("no answer in time".to_owned());
        let list = match listing.and_then(|listing| listing.answer.as_ref()) {
            Some(list) => list,
            None if at_last => &no_answer,
            None => return None,
        };
        let judgement = if off_but_heard {
            Judgement::Contradicted {
                expected: format!("on, since the agent of {node} is heard"),
                found: "off".to_owned(),
            }
        } else if let Some(answers) = answers {
            Judgement::Contradicted {
                expected: format!("on, since {answers}"),
                found: "off".to_owned(),
            }
        } else {
            judge(&power, &self.guest(node), list)
        };
        let (standing, detail) = match judgement {
            Judgement::Contradicted { expected, found } => {
                let text = format!("{} has {found} where {expected} was expected", power.by);
                self.unverify(node, &text, by, now);
                let detail = if found == "off" {
                    "another machine's plug? correct it in the spec".to_owned()
                } else {
                    "correct `plug`, or set `alias` to what the device calls this machine"
                        .to_owned()
                };
                (Standing::Contradicted { expected, found }, detail)
            }
            // What does not answer could not be switched either: nothing new is recorded.
            _ if said == Power::Unknown => (
                self.standing(node),
                format!("the source does not answer: {why}"),
            ),
            _ if answered.is_some() => (
                self.standing(node),
                format!(
                    "the source says off, but {}: ask again",
                    answered.unwrap_or_default()
                ),
            ),
            Judgement::Proven { proof, how } => {
                let known = self.verification(node).map(|verified| verified.proof);
                if known != Some(proof) {
                    self.verify(node, proof, &how, by, now);
                }
                (self.standing(node), how)
            }
            Judgement::Open(why) => {
                if let Some(reason) = attest {
                    let how = format!("attested by {by}: {reason}");
                    self.verify(node, Proof::Attested, &how, by, now);
                }
                (self.standing(node), why)
            }
        };
        Some(Finding {
            node: node.clone(),
            device: power.by,
            plug: power.plug,
            power: said,
            standing,
            detail,
        })
    }

    fn standing(&self, node: &NodeName) -> Standing {
        self.verification(node)
            .map_or(Standing::Unproven, |verified| {
                Standing::Proven(verified.clone())
            })
    }

    /// Settles what a source said about a node whose agent was heard: a machine that is off says nothing any more.
    fn settle(&mut self, node: &NodeName, now: Now) -> Doubted {
        let Some(spec) = self.spec() else {
            return Doubted::Settled;
        };
        let Some(doubt) = self.doubts.get(node) else {
            return Doubted::Settled;
        };
        // What was sent before may arrive a little later.
        let last_word = doubt.answered + spec.control.heartbeat;
        let heard = self.view.node(node).and_then(|seen| seen.heard);
        if heard.is_some_and(|heard| heard > last_word) {
            return Doubted::Refuted;
        }
        if self.view.connected(node) && now.mono < last_word + spec.control.late {
            return Doubted::Wait;
        }
        let (asked, detail) = (doubt.asked, doubt.detail.clone());
        self.doubts.remove(node);
        self.view
            .powered(node, Power::Off, &detail, Now { mono: asked, ..now });
        Doubted::Settled
    }

    /// What is known of a node's machine from its agent. What two machines say of themselves identifies neither.
    fn guest<'a>(&'a self, node: &'a NodeName) -> Guest<'a> {
        let only = |text: &'a str, same: &dyn Fn(&str, &str) -> bool| {
            let shared = self
                .view
                .nodes()
                .filter(|(other, _)| *other != node)
                .any(|(_, seen)| same(&seen.hostname, text) || same(&seen.machine_uuid, text));
            Some(text).filter(|text| !text.is_empty() && !shared)
        };
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let seen = self.view.node(node);
        Guest {
            node,
            hostname: seen
                .map(|seen| seen.hostname.as_str())
                .filter(|name| !name.to_ascii_lowercase().starts_with("localhost"))
                .and_then(|name| only(name, &same)),
            uuid: seen.and_then(|seen| only(&seen.machine_uuid, &same)),
        }
    }

    /// Records that a node's plug is its own.
    pub fn verify(&mut self, node: &NodeName, proof: Proof, how: &str, by: &str, now: Now) {
        let Some(spec) = self.spec() else {
            return;
        };
        let Some(power) = spec.nodes.get(node).and_then(|node| node.power.as_ref()) else {
            return;
        };
        let machine_uuid = self
            .view
            .node(node)
            .map(|seen| seen.machine_uuid.clone())
            .unwrap_or_default();
        let verified = Verified {
            device: power.by.to_string(),
            plug: power.plug.clone(),
            depends_on: depends_on(&spec, power),
            machine_uuid,
            proof,
            how: how.to_owned(),
            by: by.to_owned(),
            at: now.wall,
        };
        self.event("power-verified", now, |event| {
            event.node = node.to_string();
            event.who = by.to_owned();
            event.text = format!(
                "plug {} of {} is {node}: {how}",
                verified.plug, verified.device
            );
        });
        self.record(node, verified);
    }

    fn record(&mut self, node: &NodeName, verified: Verified) {
        self.output
            .writes
            .push(Write::json(records::verified_key(node), &verified));
        self.verified.insert(node.clone(), verified);
    }

    /// Ends the record of a node's plug, if there is one.
    fn unverify(&mut self, node: &NodeName, why: &str, by: &str, now: Now) {
        let Some(verified) = self.verified.remove(node) else {
            return;
        };
        self.output
            .writes
            .push(Write::delete(records::verified_key(node)));
        self.event("power-unverified", now, |event| {
            event.node = node.to_string();
            event.who = by.to_owned();
            event.text = format!(
                "plug {} of {} no longer counts as {node}'s: {why}",
                verified.plug, verified.device
            );
        });
    }

    /// The spec has changed: what was matched with an earlier one is not matched with this one.
    pub(super) fn forget_changed_plugs(&mut self, by: &str, now: Now) {
        let Some(spec) = self.spec() else {
            return;
        };
        let changed: Vec<NodeName> = self
            .verified
            .iter()
            .filter(|(node, verified)| !is_of(verified, &spec, node))
            .map(|(node, _)| node.clone())
            .collect();
        for node in changed {
            self.unverify(&node, "the spec of its power has changed", by, now);
        }
    }

    /// An agent told the UUID of its machine. Another one is another machine, under the same name.
    pub(super) fn machine_said(&mut self, node: &NodeName, uuid: &str, now: Now) {
        let Some(verified) = self.verified.get(node).filter(|_| !uuid.is_empty()) else {
            return;
        };
        if verified.machine_uuid.is_empty() {
            let verified = Verified {
                machine_uuid: uuid.to_owned(),
                ..verified.clone()
            };
            self.record(node, verified);
        } else if !verified.machine_uuid.eq_ignore_ascii_case(uuid) {
            let why = format!(
                "its machine has the UUID {uuid}, it was {}",
                verified.machine_uuid
            );
            self.unverify(node, &why, "", now);
        }
    }
}

/// How a doubt stands.
enum Doubted {
    /// There is none, or none any more.
    Settled,
    /// It is too early to tell.
    Wait,
    /// The agent was heard when its machine should have been off.
    Refuted,
}
