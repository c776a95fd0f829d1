//! Two agents that speak as one node.
//!
//! A machine that was copied with its disk has the certificate of the other, and an agent that says the same name. Whoever
//! spoke last would be believed, and what it says of its instances is true of another machine. So a node as which two
//! speak is *contested*: none of them has a session, and nothing is known of it (invariant I5), until only one has spoken
//! for some time.
//!
//! An agent makes a number at random when it starts and says it in every hello. That tells a copy from a restart without
//! any clock: **a process that has ended never says hello again**. Who does, after another one has spoken in its place,
//! lives beside that one. Only at the first hello of a stranger this cannot be known yet. If the session that it would take
//! the place of was heard just now, that one is ended and the stranger has to wait for as long as agents may be late: the
//! other, if it lives, says hello by then. A session that its machine has left behind has been silent for longer than
//! that, or is closed by the machine's own kernel, and holds nobody up.
//!
//! Two copies of a running machine, memory included, have the same number: these are not told apart.

use std::time::Duration;

use interlock_model::ids::BootId;
use interlock_model::names::NodeName;
use interlock_model::observation::Liveness;
use interlock_model::time::Now;

use super::Coordinator;
use super::message::Hello;
use super::status::Cause;

/// How long only one may have spoken until the node is its own again: three times the longest time after which an agent
/// tries anew.
const CALM: Duration = Duration::from_secs(15);

/// How many processes of a node are remembered.
const REMEMBERED: usize = 8;

/// A process that speaks as a node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Voice {
    process: String,
    boot: BootId,
    address: String,
    /// When it said hello last.
    said: Duration,
}

impl Voice {
    /// An agent of an earlier version does not say which process it is; then its boot has to do.
    fn is(&self, hello: &Hello) -> bool {
        self.boot == hello.boot && self.process == hello.process
    }
}

/// Who has spoken as a node.
#[derive(Debug, Default)]
pub(super) struct Voices {
    /// In the order in which they said hello last.
    known: Vec<Voice>,
    /// Two are known to live.
    contested: bool,
    /// Until then a stranger waits for the one in whose place it would come.
    suspected: Option<Duration>,
}

/// More than one agent may speak as a node: none of them is listened to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Contested {
    /// What is known of them, and what to do.
    pub text: String,
    /// Is this said for the first time?
    pub is_news: bool,
}

impl Coordinator {
    /// Is who says hello the only one who speaks as this node? To be asked before the hello is taken; if not, there is no
    /// session with the node any more.
    ///
    /// # Errors
    /// Who else does.
    pub fn contend(
        &mut self,
        node: &NodeName,
        hello: &Hello,
        address: &str,
        now: Now,
    ) -> Result<(), Contested> {
        let late = self.spec().map(|spec| spec.control.late);
        let late = late.unwrap_or_default();
        let in_session = self.view.speaking(node, late, now).is_some();
        let voices = self.voices.entry(node.clone()).or_default();
        let at = voices.known.iter().position(|voice| voice.is(hello));
        let is_last = at.is_some_and(|at| at + 1 == voices.known.len());
        let first = voices.known.is_empty();
        if let Some(at) = at {
            voices.known.remove(at);
        }
        voices.known.push(Voice {
            process: hello.process.clone(),
            boot: hello.boot.clone(),
            address: address.to_owned(),
            said: now.mono,
        });
        if voices.known.len() > REMEMBERED {
            voices.known.remove(0);
        }
        let was = voices.contested;
        if at.is_some() && !is_last {
            voices.contested = true;
            voices.suspected = None;
        } else if at.is_none() && !first && in_session && !was {
            voices.suspected = Some(now.mono + late);
        }
        let alone = !voices
            .known
            .iter()
            .any(|voice| !voice.is(hello) && now.since(voice.said) < CALM);
        if voices.contested && alone && was {
            voices.contested = false;
            self.event("node-contested", now, |event| {
                event.node = node.to_string();
                event.text = format!(
                    "only one agent speaks as {node} again, from {address} (boot {})",
                    hello.boot
                );
            });
            return Ok(());
        }
        let waits = voices.suspected.is_some_and(|until| now.mono < until);
        if !voices.contested && !waits {
            voices.suspected = None;
            return Ok(());
        }
        let contested = Contested {
            text: self.contest_of(node, now),
            is_news: !was,
        };
        if !was && !waits {
            self.event("node-contested", now, |event| {
                event.node = node.to_string();
                event.text.clone_from(&contested.text);
            });
        }
        self.silence_node(node);
        Err(contested)
    }

    /// Nothing is known of a node any more.
    fn silence_node(&mut self, node: &NodeName) {
        self.view.closed(node);
        let seen = self.view.entry(node);
        seen.liveness = Liveness::Lost;
        seen.instances.clear();
        seen.checks.clear();
        seen.refuses.clear();
    }

    /// Why a node is contested, if it is.
    #[must_use]
    pub fn contested(&self, node: &NodeName, now: Now) -> Option<String> {
        let voices = self.voices.get(node)?;
        let spoke = voices.known.last()?.said;
        // Both may have ended: then there is a silent node, and no contest.
        (voices.contested && now.since(spoke) < CALM).then(|| self.contest_of(node, now))
    }

    /// Who speaks as a node, and what to do.
    fn contest_of(&self, node: &NodeName, now: Now) -> String {
        let voices = self.voices.get(node).map_or(&[][..], |it| &it.known);
        let told: Vec<String> = voices
            .iter()
            .rev()
            .take(2)
            .map(|voice| {
                format!(
                    "from {} (boot {}, {}s ago)",
                    voice.address,
                    voice.boot,
                    now.since(voice.said).as_secs()
                )
            })
            .collect();
        format!(
            "two agents speak as {node}: {}. None of them is believed. Is one machine a copy of the other? Stop the agent of \
             the one that is not {node}, and give it a certificate of its own",
            told.join(" and ")
        )
    }

    /// A cause per contested node.
    pub(super) fn contests(&self, now: Now) -> Vec<Cause> {
        let nodes = self.voices.keys();
        let contested = nodes.filter_map(|node| Some((node, self.contested(node, now)?)));
        contested
            .map(|(node, what)| Cause {
                subject: node.to_string(),
                what: format!("contested: {what}"),
                dependants: self.services_on(node),
            })
            .collect()
    }

    pub(super) fn services_on(&self, node: &NodeName) -> Vec<String> {
        let Some(spec) = self.spec() else {
            return Vec::new();
        };
        let services = spec.services.values();
        services
            .filter(|service| service.nodes.contains(node))
            .map(|service| service.name.to_string())
            .collect()
    }
}
