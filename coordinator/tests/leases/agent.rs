//! The agent of a node with an instance of the leased service, after a script: it takes the role when it is told to, renews,
//! and does else what a test says.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use interlock_proto::v1;
use interlock_proto::v1::agent_message::Message;
use interlock_proto::v1::agent_service_client::AgentServiceClient;
use interlock_proto::v1::coordinator_message::Message as Told;
use interlock_proto::v1::dispatch::Command;
use interlock_proto::v1::lease_report::Report;
use interlock_proto::v1::lease_word::Word;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use crate::bed::Bed;

/// How long something may take that is sure to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it speaks: R of the fast profile.
const PERIOD: Duration = Duration::from_millis(250);

/// What it does and what it knows.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// It renews what it was told to take.
    pub(crate) renews: bool,
    /// Why it could not be promoted; empty if it could.
    pub(crate) unready: String,
    /// Why its clients do not reach it.
    pub(crate) unlinked: String,
    /// How far its data go.
    pub(crate) position: u64,
    /// How long its machine has been up.
    pub(crate) up_ms: Option<u64>,
    /// How often its machine was restarted.
    boots: u32,
    /// The epoch in which it was primary, before its machine was restarted.
    mark: Option<u64>,
    /// What it has lost by following another one.
    pub(crate) lost: Option<v1::WritesLost>,
    /// The highest epoch that it has seen.
    pub(crate) seen: u64,
    /// The epoch that it has been told to take, and takes.
    pub(crate) takes: Option<u64>,
    /// The terms of the epoch that it holds, once a renewal was acknowledged.
    pub(crate) holds: Option<v1::LeaseTerms>,
    /// When it sent the last renewal.
    pub(crate) renewed: Option<Instant>,
    /// The attempt of a promotion that it waits for.
    attempt: Option<v1::AttemptId>,
    /// Whether it reaches the machines of others.
    pub(crate) reaches: Option<bool>,
    /// What its fence agent says when it is to switch a machine off.
    pub(crate) switches: v1::Power,
    /// The plugs that it was to switch off.
    pub(crate) switched: Vec<String>,
    /// All that it was told of the lease, and when.
    pub(crate) words: Vec<(Instant, Word)>,
}

/// The agent. Falls silent when dropped.
pub(crate) struct Agent {
    node: String,
    script: Arc<Mutex<Script>>,
    outgoing: mpsc::Sender<v1::AgentMessage>,
    tasks: Vec<JoinHandle<()>>,
    started: Instant,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Agent {
    /// One whose instance runs, and which knows of no epoch.
    pub(crate) async fn new(bed: &Bed, node: &str) -> Self {
        let script = Script {
            renews: true,
            unready: String::new(),
            unlinked: String::new(),
            position: 0,
            up_ms: None,
            boots: 0,
            mark: None,
            lost: None,
            seen: 0,
            takes: None,
            holds: None,
            renewed: None,
            attempt: None,
            reaches: None,
            switches: v1::Power::Unknown,
            switched: Vec::new(),
            words: Vec::new(),
        };
        Self::with(bed, node, script).await
    }

    /// The agent connects, and knows what another session of it knew.
    pub(crate) async fn again(self, bed: &Bed) -> Self {
        let (node, mut script) = (self.node.clone(), self.look());
        script.words.clear();
        drop(self);
        Self::with(bed, &node, script).await
    }

    /// Its machine was restarted a moment ago, and then its agent. What it had, it gives back in the name of the boot before.
    pub(crate) async fn restarted(self, bed: &Bed) -> Self {
        let (node, mut script) = (self.node.clone(), self.look());
        drop(self);
        let (had, boots) = (script.takes.take(), script.boots);
        script.words.clear();
        script.holds = None;
        script.attempt = None;
        script.mark = had;
        script.boots += 1;
        script.up_ms = Some(5000);
        let agent = Self::with(bed, &node, script).await;
        if let Some(epoch) = had {
            let mut freed = release(&node, boots, epoch);
            if let Report::Release(freed) = &mut freed {
                // Its machine went down in the midst of it.
                freed.position = None;
            }
            agent.report(freed).await;
        }
        agent
    }

    async fn with(bed: &Bed, node: &str, script: Script) -> Self {
        let (outgoing, messages) = mpsc::channel(64);
        let hello = v1::Hello {
            node: node.to_owned(),
            protocol: interlock_proto::PROTOCOL,
            boot_id: boot(node, script.boots),
            process: node.to_owned(),
            ..v1::Hello::default()
        };
        let mut agent = Self {
            node: node.to_owned(),
            script: Arc::new(Mutex::new(script)),
            outgoing,
            tasks: Vec::new(),
            started: Instant::now(),
        };
        agent.say(Message::Hello(hello)).await;
        let mut client = AgentServiceClient::new(bed.agent_channel(node).await);
        let opened = client.connect(ReceiverStream::new(messages)).await;
        let mut incoming = opened.unwrap().into_inner();
        let script = Arc::clone(&agent.script);
        let answers = agent.outgoing.clone();
        agent.tasks.push(tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                match message.message {
                    Some(Told::Lease(word)) => hear(&script, word.word.unwrap()),
                    Some(Told::Dispatch(dispatch)) => {
                        let is_promotion = matches!(dispatch.command, Some(Command::Promote(_)));
                        assert!(is_promotion, "nothing else is done here: {dispatch:?}");
                        script.lock().unwrap().attempt = dispatch.id;
                    }
                    Some(other) => {
                        let message = answer(&script, other);
                        if message.is_some()
                            && answers.send(v1::AgentMessage { message }).await.is_err()
                        {
                            return;
                        }
                    }
                    None => {}
                }
            }
        }));
        let (script, outgoing) = (Arc::clone(&agent.script), agent.outgoing.clone());
        let (node, started) = (agent.node.clone(), agent.started);
        agent.tasks.push(tokio::spawn(async move {
            let mut tick = tokio::time::interval(PERIOD);
            loop {
                tick.tick().await;
                for message in says(&node, started, &script) {
                    if outgoing.send(message).await.is_err() {
                        return;
                    }
                }
            }
        }));
        agent
    }

    async fn say(&self, message: Message) {
        let message = Some(message);
        let said = self.outgoing.send(v1::AgentMessage { message });
        said.await.unwrap();
    }

    /// Says something of the lease, beside the script.
    async fn report(&self, said: Report) {
        self.say(Message::Lease(report(said))).await;
    }

    /// Gives an epoch back, and takes it no more.
    pub(crate) async fn release(&self, epoch: u64) {
        self.change(|script| {
            script.takes = None;
            script.holds = None;
        });
        self.release_for(&self.node, epoch).await;
    }

    /// Says that a node has given an epoch back.
    pub(crate) async fn release_for(&self, node: &str, epoch: u64) {
        let boots = self.look().boots;
        self.report(release(node, boots, epoch)).await;
    }

    /// Another renewal of this epoch, as if it was held.
    pub(crate) async fn renew(&self, epoch: u64) {
        let sent = self.started.elapsed();
        let from = holder(&self.node, self.look().boots);
        self.report(renewal(from, epoch, sent, None, 0)).await;
    }

    /// Renews with the terms that were proposed last, from now on.
    pub(crate) fn accept_proposed(&self) {
        self.change(|script| {
            let mut words = script.words.iter().rev();
            script.holds = words.find_map(|(_, word)| match word {
                Word::Propose(terms) => Some(terms.clone()),
                _ => None,
            });
        });
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    pub(crate) fn look(&self) -> Script {
        self.script.lock().unwrap().clone()
    }

    /// Waits for a word, and says when it came.
    pub(crate) async fn told(
        &self,
        bed: &Bed,
        what: &str,
        is_it: impl Fn(&Word) -> bool,
    ) -> Instant {
        let told = async {
            loop {
                let words = self.look().words;
                if let Some((at, _)) = words.iter().find(|(_, word)| is_it(word)) {
                    return *at;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let told = tokio::time::timeout(PATIENCE, told).await;
        told.unwrap_or_else(|_| {
            panic!(
                "{} was never told {what}, and last {:?}\n{}",
                self.node,
                self.look().words.last(),
                bed.log()
            )
        })
    }

    /// Waits until it is told to be primary in this epoch, and says when.
    pub(crate) async fn promoted(&self, bed: &Bed, epoch: u64) -> Instant {
        let is_it = |word: &Word| matches!(word, Word::Promote(promote) if promote.epoch == epoch);
        self.told(bed, "to be primary", is_it).await
    }

    /// Waits until a renewal of this epoch was acknowledged, and says when.
    pub(crate) async fn renewed(&self, bed: &Bed, epoch: u64) -> Instant {
        let is_it = |word: &Word| matches!(word, Word::Renewed(renewed) if renewed.epoch == epoch);
        self.told(bed, "that it has renewed", is_it).await
    }

    pub(crate) fn was_promoted(&self) -> bool {
        let words = self.look().words;
        words
            .iter()
            .any(|(_, word)| matches!(word, Word::Promote(_)))
    }
}

fn boot(node: &str, boots: u32) -> String {
    format!("boot-{boots}-of-{node}")
}

fn holder(node: &str, boots: u32) -> v1::LeaseHolder {
    v1::LeaseHolder {
        node: node.to_owned(),
        boot_id: boot(node, boots),
    }
}

fn release(node: &str, boots: u32, epoch: u64) -> Report {
    Report::Release(v1::LeaseRelease {
        holder: Some(holder(node, boots)),
        epoch,
        began: true,
        position: Some(0),
    })
}

fn report(report: Report) -> v1::LeaseReport {
    v1::LeaseReport {
        service: "db".to_owned(),
        report: Some(report),
    }
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap()
}

fn renewal(
    from: v1::LeaseHolder,
    epoch: u64,
    sent: Duration,
    terms: Option<v1::LeaseTerms>,
    position: u64,
) -> Report {
    Report::Renewal(v1::LeaseRenewal {
        holder: Some(from),
        epoch,
        sent_ns: nanos(sent),
        terms,
        watchdog: false,
        client_path: true,
        synchrony: None,
        position: Some(position),
    })
}

/// What it answers to questions about other machines, and to an order to switch one off.
fn answer(script: &Mutex<Script>, asked: Told) -> Option<Message> {
    let mut script = script.lock().unwrap();
    let power = |ask, node, power: v1::Power| {
        Message::Power(v1::PowerAnswer {
            ask,
            node,
            power: power.into(),
            detail: "as the script says".to_owned(),
            busy: false,
        })
    };
    match asked {
        Told::TryToReach(asked) => Some(Message::Tried(v1::Tried {
            ask: asked.ask,
            node: asked.node,
            reached: script.reaches,
            detail: asked.addresses.join(","),
        })),
        Told::SwitchOff(order) => {
            assert!(order.term > 0, "{order:?}");
            let call = order.call.unwrap();
            script.switched.push(call.plug);
            Some(power(order.ask, call.node, script.switches))
        }
        Told::AskPower(question) => {
            let call = question.call.unwrap();
            Some(if call.action == "list" {
                Message::Plugs(v1::PlugList {
                    ask: question.ask,
                    list: Some(v1::plug_list::List::NotOffered(true)),
                })
            } else {
                power(question.ask, call.node, v1::Power::On)
            })
        }
        _ => None,
    }
}

fn hear(script: &Mutex<Script>, word: Word) {
    let mut script = script.lock().unwrap();
    match &word {
        Word::Promote(promote) if script.takes.is_none_or(|it| it < promote.epoch) => {
            script.takes = Some(promote.epoch);
            script.seen = promote.epoch;
        }
        Word::Renewed(renewed) if script.takes == Some(renewed.epoch) => {
            script.holds.clone_from(&renewed.terms);
        }
        Word::Over(epoch) if script.takes == Some(*epoch) => {
            script.takes = None;
            script.holds = None;
        }
        Word::Heard(heard) => script.seen = script.seen.max(heard.epoch),
        _ => {}
    }
    script.words.push((Instant::now(), word));
}

/// What it says in every period.
fn says(node: &str, started: Instant, script: &Mutex<Script>) -> Vec<v1::AgentMessage> {
    let mut script = script.lock().unwrap();
    let now = started.elapsed();
    let holding = script.takes.zip(script.holds.clone());
    let holding = holding.map(|(epoch, terms)| v1::LeaseHolding {
        epoch,
        renewed_ns: nanos(now),
        terms: Some(terms),
        watchdog: false,
        client_path: true,
        synchrony: None,
    });
    let me = holder(node, script.boots);
    let standing = v1::LeaseStanding {
        holder: Some(me.clone()),
        seen: script.seen,
        reverted: false,
        mark: holding.as_ref().map(|held| held.epoch).or(script.mark),
        idle: script.takes.is_none(),
        promised: false,
        position: Some(script.position),
        // Whoever was primary last, its data follow that one.
        follows: Some(script.seen),
        unready: script.unready.clone(),
        unlinked: script.unlinked.clone(),
        hears: true,
        score: None,
        up_ms: script.up_ms,
        holding,
    };
    let side = if script.takes.is_some() {
        v1::Side::Primary
    } else {
        v1::Side::Standby
    };
    let instance = |service: &str, role| v1::Instance {
        service: service.to_owned(),
        state: v1::InstanceState::Running.into(),
        wanted: v1::Wanted::Running.into(),
        role,
        ..v1::Instance::default()
    };
    let role = v1::Role {
        side: side.into(),
        epoch: script.seen,
        detail: String::new(),
        lost: script.lost.clone(),
    };
    let mut instances = vec![instance("db", Some(role))];
    if node == "db2" {
        instances.push(instance("web", None));
    }
    let observed = v1::Observed {
        full: false,
        instances,
        generation: 1,
        ..v1::Observed::default()
    };
    let mut says = vec![
        Message::Heartbeat(v1::Heartbeat::default()),
        Message::Observed(observed),
        Message::Lease(report(Report::Standing(standing))),
    ];
    if let Some(epoch) = script.takes.filter(|_| script.renews) {
        script.renewed = Some(Instant::now());
        let terms = script.holds.clone();
        let renewal = renewal(me, epoch, now, terms, script.position);
        says.push(Message::Lease(report(renewal)));
    }
    if let Some(id) = script.attempt.clone() {
        let state = if script.holds.is_some() {
            script.attempt = None;
            v1::AttemptState::Done
        } else {
            v1::AttemptState::Accepted
        };
        says.push(Message::Attempt(v1::AttemptReport {
            id: Some(id),
            state: state.into(),
            ..v1::AttemptReport::default()
        }));
    }
    says.into_iter()
        .map(|message| v1::AgentMessage {
            message: Some(message),
        })
        .collect()
}
