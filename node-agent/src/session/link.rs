//! The link to one coordinator: connect, say hello, tell what is news, pass on what is asked; again and again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use interlock_engine::agent::Peer;
use interlock_engine::agent::asked::Asked;
use interlock_mesh::backoff::{Attempts, Backoff, SystemRandom};
use interlock_mesh::channel::{self, Target};
use interlock_model::ids::Term;
use interlock_proto::v1;
use interlock_proto::v1::agent_message::Message;
use interlock_proto::v1::agent_service_client::AgentServiceClient;
use interlock_proto::v1::coordinator_message::Message as CoordinatorSays;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::alarm::Alarm;
use super::board::{Cursor, Unread};
use super::ended::Ended;
use super::greeting::{hello, message};
use super::order::{NoOrder, Order};
use super::outbox::Outbox;
use super::reach::Reach;
use super::{Board, Clock, Executor, LeaseMail, LeaseWord, Options};
use crate::run::chain;

/// Messages that wait to be sent. A coordinator that does not read is not waited for with more than these.
const QUEUE: usize = 4;

/// Orders that may wait here for the desk. What is said of leases comes in the same stream, and must not wait for steps that
/// wait for a disk: a holder that is not heard stops what it holds. Twice what a coordinator keeps for one agent, so that it is
/// never the stream that is full.
const WAITING: usize = 1024;

/// How long a coordinator may take to answer a hello.
pub(super) const WELCOME_LIMIT: Duration = Duration::from_secs(10);

/// How long a goodbye may take to leave.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// The longest message of a coordinator (`AgentService.Connect`: 1 MiB).
const MAX_MESSAGE: usize = 1 << 20;

/// The period of heartbeats where the welcome gives none.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The link to one coordinator.
pub(super) struct Link<E> {
    pub(super) peer: Peer,
    pub(super) target: Target,
    pub(super) options: Arc<Options>,
    /// This process, made at random at its start.
    pub(super) process: String,
    pub(super) board: Board,
    pub(super) outbox: Arc<Outbox>,
    pub(super) orders: mpsc::Sender<Box<Order>>,
    pub(super) executor: Arc<E>,
    pub(super) reach: Arc<Reach>,
    pub(super) clock: Clock,
    /// The highest term that was said with a word of a lease.
    pub(super) term: AtomicU64,
}

/// How long something seen waits for the end of the attempt that brought it about, which is told right behind it then:
/// one piece on the wire instead of two, and nobody has to look again for a proof that is on its way.
const GATHER: Duration = Duration::from_millis(2);

/// How long results that only say again what was said wait for others: a message costs more than what is in it. Short beside
/// the time for which any such result is fresh.
const COLLECT: Duration = Duration::from_millis(100);

/// A session that stands.
struct Session {
    outgoing: mpsc::Sender<Box<v1::AgentMessage>>,
    incoming: Streaming<v1::CoordinatorMessage>,
    welcome: v1::Welcome,
}

impl<E: Executor> Link<E> {
    /// Keeps the link until a reason to stop is given.
    pub(super) async fn run(self, mut stop: watch::Receiver<Option<String>>) {
        let mut attempts = Attempts::new(Backoff::CONNECT);
        let mut random = SystemRandom::new();
        loop {
            let mut stood = None;
            let ended = self.session(&mut stop, &mut stood).await;
            self.outbox.close();
            if let Some(leases) = self.executor.lease_mail(self.peer) {
                leases.close();
            }
            if let Some(since) = stood {
                attempts.lasted(Instant::now().saturating_duration_since(since));
                // The desk ends after the links.
                let _ = self.orders.send(Box::new(Order::Lost(self.peer))).await;
            }
            if matches!(ended, Ended::Stopped) {
                return;
            }
            let text = chain(&ended);
            if self.reach.set(false, text.clone()) {
                tracing::warn!(coordinator = %self.target.address, "{text}");
            } else {
                tracing::debug!(coordinator = %self.target.address, "{text}");
            }
            tokio::select! {
                _ = stop.wait_for(Option::is_some) => return,
                () = tokio::time::sleep(attempts.next_wait(&mut random)) => {}
            }
        }
    }

    /// One session from connect to end. `stood` is when it began to stand.
    async fn session(
        &self,
        stop: &mut watch::Receiver<Option<String>>,
        stood: &mut Option<Instant>,
    ) -> Ended {
        let begin = async {
            // Before the hello is made: what changes after it is kept.
            self.outbox.open();
            self.begin().await
        };
        let session = tokio::select! {
            _ = stop.wait_for(Option::is_some) => return Ended::Stopped,
            session = begin => session,
        };
        let mut session = match session {
            Ok(session) => session,
            Err(ended) => return ended,
        };
        *stood = Some(Instant::now());
        let coordinator = &session.welcome.coordinator;
        self.reach.set(
            true,
            format!("coordinator {coordinator}, term {}", session.welcome.term),
        );
        tracing::info!(address = %self.target.address, coordinator, term = session.welcome.term, "session stands");
        let incarnation = Some(session.welcome.incarnation.clone()).filter(|text| !text.is_empty());
        let heard = Order::Heard {
            from: self.peer,
            term: Term(session.welcome.term),
            incarnation,
        };
        if self.orders.send(Box::new(heard)).await.is_err() {
            return Ended::Stopped;
        }
        let outgoing = session.outgoing.clone();
        let reason = tokio::select! {
            reason = stop.wait_for(Option::is_some) => reason.ok().and_then(|reason| reason.clone()),
            ended = self.talk(&mut session) => return ended,
        };
        let goodbye = Message::Goodbye(v1::Goodbye {
            reason: reason.unwrap_or_default(),
        });
        let say = async {
            // First what is durable and not told yet: nobody can ask this process for it afterwards.
            for waiting in self.outbox.drain() {
                if outgoing.send(message(waiting)).await.is_err() {
                    return;
                }
            }
            // What was given back last, so that nobody waits for a lease that nobody has.
            let leases = self.executor.lease_mail(self.peer);
            while let Some(report) = leases.as_ref().and_then(|leases| leases.take()) {
                if outgoing
                    .send(message(Message::Lease(report)))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            // If the stream is gone, silence says the same.
            let _ = outgoing.send(message(goodbye)).await;
            drop(outgoing);
            drop(session.outgoing);
            while let Ok(Some(_)) = session.incoming.message().await {}
        };
        let _ = tokio::time::timeout(GOODBYE_LIMIT, say).await;
        Ended::Stopped
    }

    async fn begin(&self) -> Result<Session, Ended> {
        let channel = channel::connect(
            &self.target,
            &self.options.credentials,
            &self.options.channel,
        )
        .await?;
        let mut client = AgentServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let (answer, greeting) = oneshot::channel();
        let greet = Order::Greet {
            from: self.peer,
            answer,
        };
        self.orders
            .send(Box::new(greet))
            .await
            .map_err(|_| Ended::Stopped)?;
        let greeting = greeting.await.map_err(|_| Ended::Stopped)?;
        let hello = hello(
            &self.options,
            &self.process,
            &greeting,
            &self.board,
            self.executor.facts().await,
        );

        let (outgoing, stream) = mpsc::channel(QUEUE);
        outgoing.send(hello).await.map_err(|_| Ended::Stopped)?;
        let address = || self.target.address.to_string();
        let meet = async {
            let mut incoming = client
                .connect(ReceiverStream::new(stream).map(|message| *message))
                .await?
                .into_inner();
            let first = incoming.message().await?;
            Ok((incoming, first))
        };
        let (incoming, first) = match tokio::time::timeout(WELCOME_LIMIT, meet).await {
            Err(_) => return Err(Ended::NoWelcome { address: address() }),
            Ok(Err(status)) => return Err(self.ended_by(&status)),
            Ok(Ok(met)) => met,
        };
        match first.and_then(|first| first.message) {
            Some(CoordinatorSays::Welcome(welcome)) => Ok(Session {
                outgoing,
                incoming,
                welcome,
            }),
            Some(_) => Err(Ended::NotAWelcome { address: address() }),
            None => Err(Ended::Closed { address: address() }),
        }
    }

    /// Talks until the session ends.
    async fn talk(&self, session: &mut Session) -> Ended {
        let closed = || Ended::Closed {
            address: self.target.address.to_string(),
        };
        let mut cursor = Cursor::default();
        // All that it sees before it hears a word: the first may be an assignment that lets go of some of it.
        let seen = self
            .board
            .read(&mut cursor, self.clock.mono(), &Asked::default());
        if let Some(seen) = seen
            && session
                .outgoing
                .send(message(Message::Observed(seen)))
                .await
                .is_err()
        {
            return closed();
        }
        if let Some(agents) = self.executor.resource_agents().await {
            let told = session.outgoing.send(message(Message::OcfAgents(agents)));
            if told.await.is_err() {
                return closed();
            }
        }
        let mut asked = Asked::default();
        let period = Duration::from_millis(session.welcome.heartbeat_ms);
        let mut beat = tokio::time::interval(if period.is_zero() { HEARTBEAT } else { period });
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut share = self.executor.log_share();
        if let Some(share) = &mut share {
            // Told in each session, whatever an earlier one has told.
            share.mark_changed();
        }
        let leases = self.executor.lease_mail(self.peer);
        if let Some(leases) = &leases {
            leases.open();
            self.executor.lease_session(self.peer);
        }
        let mut sequence = 0;
        let mut news = News::default();
        let mut told = Vec::new();
        let mut alarm = Alarm::default();
        let mut orders = VecDeque::new();
        loop {
            tokio::select! {
                room = self.orders.reserve(), if !orders.is_empty() => {
                    let (Ok(room), Some(order)) = (room, orders.pop_front()) else {
                        return Ended::Stopped;
                    };
                    room.send(order);
                    continue;
                }
                received = session.incoming.message(), if orders.len() < WAITING => match received {
                    Ok(Some(received)) => {
                        // Before anybody can act on it: no probe that answers it has begun yet.
                        if let Some(CoordinatorSays::ProbeNow(question)) = &received.message {
                            asked.arrived(question.ask, Instant::now());
                        }
                        if let Some(CoordinatorSays::ServeLogs(call)) = &received.message {
                            // Not in this stream: it must not wait for bulk, nor for a disk.
                            self.executor.serve_logs(&self.target, call.call);
                            continue;
                        }
                        if let Some(CoordinatorSays::Lease(word)) = &received.message {
                            self.hear(word);
                            continue;
                        }
                        match Order::read(self.peer, received) {
                            Ok(order) => {
                                orders.push_back(Box::new(order));
                                continue;
                            }
                            Err(no_order) => match self.answer(no_order) {
                                Some(answer) => told.push(answer),
                                None => continue,
                            },
                        }
                    }
                    Ok(None) => return closed(),
                    Err(status) => return self.ended_by(&status),
                },
                lease = said(leases.as_deref()) => told.push(Message::Lease(lease)),
                () = self.outbox.bell().rung() => {}
                () = alarm.rings() => {}
                trouble = changed(&mut share) => told.push(Message::LogShare(v1::LogShare { trouble })),
                _ = beat.tick() => {
                    sequence += 1;
                    told.push(Message::Heartbeat(v1::Heartbeat { sequence }));
                }
            }
            let now = Instant::now();
            let (waiting, later) = self.outbox.take(now);
            told.extend(waiting);
            news.look(self.board.unread(&cursor), now);
            // What is told of an attempt may rest upon what was seen.
            let reports = told.iter().any(|say| matches!(say, Message::Attempt(_)));
            let seen = if reports || news.is_due(now) {
                news = News::default();
                self.board.read(&mut cursor, self.clock.mono(), &asked)
            } else {
                None
            };
            alarm.set_by(news.due.into_iter().chain(later).min());
            let mut taken = Ok(());
            for say in seen
                .map(Message::Observed)
                .into_iter()
                .chain(told.drain(..))
            {
                taken = taken.and(session.outgoing.send(message(say)).await);
            }
            if taken.is_err() {
                // The stream takes nothing more; its other half knows why.
                return match session.incoming.message().await {
                    Err(status) => self.ended_by(&status),
                    Ok(_) => closed(),
                };
            }
        }
    }

    /// Hands on what is said of a lease, not by the desk: it must not wait for a disk.
    fn hear(&self, wire: &v1::LeaseWord) {
        match LeaseWord::from_wire(wire) {
            Ok(word) => {
                // The ledger learns of a later term when it can; nobody waits for that here. Where the desk has no room for it
                // now, the next word tells it.
                let term = word.term;
                self.executor.lease_word(self.peer, word);
                let heard = Order::Heard {
                    from: self.peer,
                    term,
                    incarnation: None,
                };
                if self.term.load(Ordering::Relaxed) < term.0
                    && self.orders.try_send(Box::new(heard)).is_ok()
                {
                    self.term.store(term.0, Ordering::Relaxed);
                }
            }
            Err(problem) => {
                tracing::warn!(coordinator = %self.target.address, %problem, "a word of a lease is ignored");
            }
        }
    }

    /// What is answered at once to what is no order, if anything is.
    fn answer(&self, no_order: NoOrder) -> Option<Message> {
        let coordinator = &self.target.address;
        match no_order {
            NoOrder::Answer(answer) => return Some(*answer),
            NoOrder::Ignore(problem) => {
                tracing::warn!(%coordinator, %problem, "a message is ignored");
            }
            NoOrder::Unexpected => {
                tracing::warn!(%coordinator, "a message of another version is ignored");
            }
        }
        None
    }

    fn ended_by(&self, status: &Status) -> Ended {
        let address = self.target.address.to_string();
        Ended::by(status, address, self.options.node.as_str())
    }
}

/// What there is to say of leases; nothing if none are kept.
async fn said(leases: Option<&LeaseMail>) -> v1::LeaseReport {
    match leases {
        Some(leases) => leases.next().await,
        None => std::future::pending().await,
    }
}

/// What there is to say of the share for logs, when it is something else than before. Nothing, as long as it is not known: an
/// agent that has just begun would say that all is well.
async fn changed(share: &mut Option<watch::Receiver<Option<String>>>) -> String {
    if let Some(share) = share {
        while share.changed().await.is_ok() {
            if let Some(said) = share.borrow_and_update().clone() {
                return said;
            }
        }
    }
    // There is no share, or the agent is ending.
    std::future::pending().await
}

/// When what is new on the board is told at the latest.
#[derive(Debug, Default)]
struct News {
    due: Option<Instant>,
    /// Is there more than what is said only to keep it from looking old?
    is_news: bool,
}

impl News {
    fn look(&mut self, unread: Unread, now: Instant) {
        match unread {
            Unread::News if !self.is_news => {
                self.is_news = true;
                let soon = now + GATHER;
                self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
            }
            Unread::Renewals if self.due.is_none() => self.due = Some(now + COLLECT),
            Unread::News | Unread::Renewals | Unread::Nothing => {}
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }
}
