//! The network: sessions between agents and coordinator processes.
//!
//! Within a session messages keep their order and take their time. When a session ends, each side notices by itself;
//! what was on its way up is lost, what was on its way down is lost or arrives late, even after a newer session was
//! opened: a dead stream may still hold what nobody has read. And what has arrived may arrive once more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_engine::agent::Peer;
use interlock_engine::coordinator::{FromAgent, ToAgent};
use interlock_model::ids::Term;
use interlock_model::names::NodeName;

use super::{Event, Simulation};
use crate::fact::Fact;

/// How many commands are kept for being delivered again.
const KEPT: usize = 6;

/// A session's number.
pub(crate) type SessionId = u64;

/// A message on its way to an agent.
#[derive(Debug, Clone)]
pub(super) struct Travel {
    pub(super) session: SessionId,
    pub(super) term: Term,
    pub(super) message: ToAgent,
    /// Its session was over before it arrived.
    pub(super) late: bool,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) node: NodeName,
    pub(super) life: u64,
    pub(super) process: u32,
    open: bool,
    up_until: Duration,
    down_until: Duration,
}

/// All sessions that there ever were.
#[derive(Debug)]
pub(super) struct Network {
    sessions: BTreeMap<SessionId, Session>,
    unreachable: BTreeSet<NodeName>,
    /// What dead sessions still hold for each node.
    held: BTreeMap<NodeName, Vec<Travel>>,
    /// The sessions up to this one are long gone.
    forgotten: SessionId,
}

impl Network {
    pub(super) fn new() -> Self {
        Self {
            sessions: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            held: BTreeMap::new(),
            forgotten: 0,
        }
    }

    pub(super) fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    pub(super) fn is_open(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.open)
    }

    pub(super) fn reachable(&mut self, node: &NodeName) {
        self.unreachable.remove(node);
    }

    pub(super) fn cut(&mut self, node: &NodeName) {
        self.unreachable.insert(node.clone());
    }

    /// What was sent so far, and has not arrived, does not any more; nor does it arrive again.
    pub(super) fn forget(&mut self) {
        self.held.clear();
        self.forgotten = self.sessions.len() as SessionId;
    }

    /// What is said in a session reaches its coordinator no earlier than this.
    pub(super) fn hold_up(&mut self, id: SessionId, until: Duration) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.up_until = session.up_until.max(until);
        }
    }

    /// The open sessions of a node, or of all nodes.
    pub(super) fn open_of(&self, node: Option<&NodeName>) -> Vec<SessionId> {
        self.sessions
            .iter()
            .filter(|(_, session)| session.open && node.is_none_or(|node| session.node == *node))
            .map(|(id, _)| *id)
            .collect()
    }
}

impl Simulation {
    /// An agent opens a session with the coordinator that is there, or tries again later.
    pub(super) fn connect(&mut self, node: &NodeName, life: u64) {
        let Some(agent) = self.agents.get(node).filter(|agent| agent.life == life) else {
            return;
        };
        let Some(alive) = &agent.alive else { return };
        let process = self.process.as_ref().map(|process| process.number);
        let (Some(number), false) = (process, self.network.unreachable.contains(node)) else {
            let again = self.random.millis(200, 900);
            self.schedule.after(
                again,
                Event::Connect {
                    node: node.clone(),
                    life,
                },
            );
            return;
        };
        let peer = Peer(number);
        if alive
            .sessions
            .get(&peer)
            .is_some_and(|id| self.network.is_open(*id))
        {
            return;
        }
        let id = self.network.sessions.len() as SessionId + 1;
        let now = self.now();
        self.network.sessions.insert(
            id,
            Session {
                node: node.clone(),
                life,
                process: number,
                open: true,
                up_until: now,
                down_until: now,
            },
        );
        self.say(|| format!("{node} opens session {id} with coordinator {number}"));
        self.greet(node, peer, id);
        self.repeat_some(node);
    }

    /// What reached an agent over earlier sessions reaches it once more.
    fn repeat_some(&mut self, node: &NodeName) {
        if !self.troubled() || !self.random.chance(40) {
            return;
        }
        let heard: Vec<_> = self.agents[node].heard.iter().cloned().collect();
        for (session, term, message) in heard {
            let mut delay = self.random.millis(0, 3000);
            if self.setup.harsh && self.fates.chance(50) {
                // Before the first word of the coordinator.
                delay = self.fates.millis(0, 40);
            }
            self.schedule.after(
                delay,
                Event::ToAgent {
                    session,
                    term,
                    message,
                    late: true,
                },
            );
        }
    }

    /// The time on the way, usually short.
    fn delay(&mut self) -> Duration {
        if self.troubled() && self.random.chance(3) {
            self.random.millis(100, 900)
        } else {
            self.random.millis(1, 30)
        }
    }

    pub(super) fn send_down(&mut self, id: SessionId, term: Term, message: ToAgent) {
        let delay = self.delay();
        let now = self.now();
        let Some(session) = self
            .network
            .sessions
            .get_mut(&id)
            .filter(|session| session.open)
        else {
            return;
        };
        session.down_until = session.down_until.max(now + delay);
        let at = session.down_until;
        self.schedule.at(
            at,
            Event::ToAgent {
                session: id,
                term,
                message,
                late: false,
            },
        );
    }

    pub(super) fn send_up(&mut self, id: SessionId, message: FromAgent) {
        if let FromAgent::Attempt(report) = &message
            && let Some(session) = self.network.sessions.get(&id)
        {
            let node = session.node.clone();
            self.tell_all(&Fact::Reported {
                node: &node,
                report,
            });
        }
        let delay = self.delay();
        let now = self.now();
        let Some(session) = self
            .network
            .sessions
            .get_mut(&id)
            .filter(|session| session.open)
        else {
            return;
        };
        session.up_until = session.up_until.max(now + delay);
        let at = session.up_until;
        self.schedule.at(
            at,
            Event::ToCoordinator {
                session: id,
                message,
            },
        );
    }

    /// A message has arrived at an agent, or would have.
    pub(super) fn arrive_at_agent(&mut self, travel: &Travel) {
        let Some(session) = self.network.session(travel.session) else {
            return;
        };
        let (node, process) = (session.node.clone(), session.process);
        if travel.session <= self.network.forgotten {
            return;
        }
        if !session.open && !travel.late {
            // A quiet network loses what a dead session held; a troubled one may deliver it yet.
            if self.troubled() && self.random.chance(50) {
                let travel = Travel {
                    late: true,
                    ..travel.clone()
                };
                self.network.held.entry(node).or_default().push(travel);
            }
            return;
        }
        let Some(agent) = self.agents.get_mut(&node) else {
            return;
        };
        if agent.alive.is_none() {
            return;
        }
        if matches!(
            travel.message,
            ToAgent::Dispatch { .. } | ToAgent::Cancel(_)
        ) && !travel.late
        {
            agent
                .heard
                .push_back((travel.session, travel.term, travel.message.clone()));
            if agent.heard.len() > KEPT {
                agent.heard.pop_front();
            }
        }
        self.agent_hears(&node, Peer(process), travel);
        // The worst moment for what an earlier session held: right after the first word of a newer one.
        if matches!(travel.message, ToAgent::Assign(_))
            && let Some(held) = self.network.held.remove(&node)
        {
            for travel in held {
                // Or somewhat later: after the questions of the newer session, before its next attempt.
                if self.setup.harsh && self.fates.chance(60) {
                    let later = self.fates.millis(0, 500);
                    let event = Event::ToAgent {
                        session: travel.session,
                        term: travel.term,
                        message: travel.message,
                        late: true,
                    };
                    self.schedule.after(later, event);
                } else {
                    self.arrive_at_agent(&travel);
                }
            }
        }
    }

    /// A session ends, for whatever reason.
    pub(super) fn drop_session(&mut self, id: SessionId) {
        let Some(session) = self
            .network
            .sessions
            .get_mut(&id)
            .filter(|session| session.open)
        else {
            return;
        };
        session.open = false;
        let (node, life, process) = (session.node.clone(), session.life, session.process);
        self.say(|| format!("session {id} of {node} ends"));
        let notices = self.random.millis(1, 400);
        self.schedule.after(notices, Event::Closed { session: id });
        let again = self.random.millis(50, 900);
        if self.agent_loses(&node, life, Peer(process), id) {
            self.schedule.after(again, Event::Connect { node, life });
        }
    }
}
