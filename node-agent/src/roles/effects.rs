//! What a machine wants done, and how it is done.

use std::collections::VecDeque;

use interlock_engine::lease::holder::{Effect, Event};
use interlock_engine::lease::{Clock, ReleaseReport, RenewRequest};
use rustix::system::{RebootCommand, reboot};

use super::clock;
use super::facts::Job;
use super::force::Force;
use super::input::Task;
use super::seat::{Seat, Shell};
use crate::config::Reset;
use crate::session::LeaseSay;

impl Seat {
    /// Tells the machine something, and carries out what follows from it.
    pub(super) fn tell(&mut self, event: Event, shell: &mut Shell) {
        self.look_at_door(&event);
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = clock::read();
            let lost = matches!(event, Event::Empty { .. }) && self.has_lost_its_memory();
            let effects = self.holder.handle(event, now);
            self.carry_out(effects, now, shell, &mut events);
            if lost {
                // Before anybody is told that it is idle. How far the record says that it had written stays there.
                self.data = None;
                events.push_back(Event::Position(None));
            }
        }
        self.look_at_self(shell);
    }

    /// What is promised of the path is what is so. Whoever is to be primary sees first that there is one.
    fn look_at_door(&mut self, event: &Event) {
        let asked = matches!(event, Event::Promote { .. }) || self.door.is_torn();
        if asked && self.holder.is_standby() {
            // Whether it was there is known afterwards; nothing is open here.
            let _ = self.door.close();
        }
        self.holder.set_client_path(self.door.is_guarded());
    }

    /// Carries out effects that were decided at `now`; what happens at once is put into `events`.
    pub(super) fn carry_out(
        &mut self,
        effects: Vec<Effect>,
        now: Clock,
        shell: &mut Shell,
        events: &mut VecDeque<Event>,
    ) {
        for effect in effects {
            self.carry_out_one(effect, now, shell, events);
        }
    }

    fn carry_out_one(
        &mut self,
        effect: Effect,
        now: Clock,
        shell: &mut Shell,
        events: &mut VecDeque<Event>,
    ) {
        let service = &self.service;
        match effect {
            Effect::Renew { request, turn } => self.renew(request, turn, shell),
            Effect::Commit { batch, facts } => {
                let service = service.clone();
                let job = Job {
                    service,
                    batch,
                    facts,
                };
                if shell.jobs.send(job).is_err() {
                    tracing::error!(service = %self.service, "the thread that writes facts down has ended");
                }
            }
            Effect::Keep(tenure) => {
                if let Err(error) = shell.keep(service, tenure.as_ref()) {
                    tracing::error!(%service, %error, "how long its role lasts cannot be kept for the next agent");
                }
            }
            Effect::ReportRelease(report) => self.report(&report, shell),
            Effect::OpenPath(left) => {
                if let Err(why) = self.door.open(left, now) {
                    tracing::error!(%service, "clients are not let in: {why}");
                }
            }
            Effect::ClosePath => {
                if let Err(why) = self.door.close() {
                    tracing::error!(%service, "clients are not shut out now: {why}");
                }
            }
            Effect::Block => self.block(events),
            Effect::Unblock => {
                self.blocked = false;
                if let Err(why) = self.door.restore() {
                    tracing::error!(service = %self.service, "not all addresses are back: {why}");
                }
                self.door.announce();
            }
            Effect::Promote(right) => {
                tracing::warn!(%service, epoch = right.epoch().0, "it is to be primary: starting what belongs to that");
                self.again = false;
                self.begin(Task::Start, shell);
            }
            Effect::Restart(right) => {
                tracing::warn!(%service, epoch = right.epoch().0, "starting again what the primary has lost");
                self.again = true;
                self.begin(Task::Start, shell);
            }
            Effect::Stop => {
                tracing::warn!(%service, "giving the role back: stopping what belongs to it");
                match &self.work {
                    // What is being started must be there, or gone, before it can be stopped.
                    Some(work) => {
                        work.interrupt();
                        self.then_stop = true;
                    }
                    None => self.begin(Task::Stop, shell),
                }
            }
            Effect::ForceStop { within, why } => {
                self.blocked = false;
                self.then_stop = false;
                self.demoted.clear();
                self.ended = None;
                self.force = Some(Force::new(why.to_owned(), within, now));
                self.changed();
                let is_empty = self.strike(now, shell);
                // Only now: who reads the log may let this thread wait.
                tracing::error!(service = %self.service, ?within, "stopping by force: {why}");
                if is_empty {
                    events.push_back(Event::Empty { position: None });
                }
            }
            Effect::Reset => self.reset(shell.reset),
            Effect::Arm(_) => events.push_back(Event::Armed(self.arm(shell))),
            Effect::Pet => self.pets = true,
            Effect::Disarm => {
                if let Err(error) = shell.dog.disarm(service) {
                    tracing::error!(%service, %error, "the watchdog is not disarmed, and may reset this machine");
                }
            }
            Effect::AskPeers {
                members,
                ask,
                epoch,
                life,
            } => self.ask_peers(&members, ask, (epoch, life), shell),
            Effect::Agree { .. } => self.agreed = true,
            Effect::AllowAsynchronous => self.asynchronous = Some(self.asked),
            Effect::MayExit => self.may_exit = true,
            Effect::Paused(gone) => {
                tracing::warn!(%service, ?gone, "this agent did not run for a while: was the machine paused or overloaded?");
            }
        }
    }

    /// Asks one of the coordinators that can be reached; another one each time that one did not answer.
    fn renew(&self, request: Box<RenewRequest>, turn: u64, shell: &Shell) {
        let open: Vec<_> = shell.mails.iter().filter(|mail| mail.is_open()).collect();
        let count = u64::try_from(open.len()).unwrap_or(u64::MAX);
        let Some(number) = turn.checked_rem(count) else {
            tracing::debug!(service = %self.service, "no coordinator can be asked to renew");
            return;
        };
        let chosen = usize::try_from(number)
            .ok()
            .and_then(|number| open.get(number));
        if let Some(mail) = chosen {
            mail.say(&self.service, LeaseSay::Renew(request));
        }
    }

    fn report(&self, report: &ReleaseReport, shell: &Shell) {
        for mail in &shell.mails {
            mail.say(&self.service, LeaseSay::Release(report.clone()));
        }
    }

    /// Makes writes impossible while the instance goes on: without their addresses, clients do not reach it. Where they may
    /// come in ways that nobody has named, only the end of the instance does that.
    fn block(&mut self, events: &mut VecDeque<Event>) {
        self.blocked = true;
        // Where its addresses are gone it does not matter whether they are closed.
        let _ = self.door.close();
        let blocks = self.door.has_path() && self.door.clear().is_ok();
        tracing::warn!(
            service = %self.service,
            "it runs as primary, and nobody knows for how long it may: {}",
            if blocks { "no client reaches it until its lease is renewed" } else { "it cannot be blocked" }
        );
        if !blocks {
            events.push_back(Event::Died { restart: false });
        }
    }

    /// A forced stop hangs: SIGKILL does not reach a process in an uninterruptible sleep, a reset does.
    fn reset(&self, how: Reset) {
        match how {
            Reset::Kernel => {
                tracing::error!(service = %self.service, "resetting this machine: what must not write any more cannot be ended");
                if let Err(error) = reboot(RebootCommand::Restart) {
                    tracing::error!(service = %self.service, %error, "this machine does not let itself be reset");
                }
            }
            Reset::Off => tracing::error!(
                service = %self.service,
                "its forced stop hangs, and this agent may not reset its machine ([lease] reset = \"off\")"
            ),
        }
    }
}
