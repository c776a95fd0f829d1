//! What the shell makes databases and machines do, and how long that takes.

use std::time::Duration;

use interlock_engine::lease::holder::Event as Told;
use interlock_model::lease::Epoch;

use super::event::Event;
use super::machine::State;
use super::mutant::Mutant;
use super::oracle::Condition;
use super::run::Run;
use super::setup::{Kind, NODES};

/// Something that a manager began comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Promoted(Epoch),
    PromotionFailed,
    Stopped,
    Killed,
    Restarted,
}

impl Run {
    /// Begins something that replaces whatever was begun before.
    pub(super) fn begin_work(&mut self, node: usize, what: Work, least: u64, most: u64) {
        let delay = self.random.millis(least, most);
        let machine = &mut self.machines[node];
        machine.database.work += 1;
        let (boots, work) = (machine.boots, machine.database.work);
        self.schedule.after(
            delay,
            Event::Manager {
                node,
                boots,
                work,
                what,
            },
        );
    }

    pub(super) fn promote(&mut self, node: usize, epoch: Epoch) {
        self.count("promotions");
        self.machines[node].database.state = State::Promoting;
        let fails = self.is_trouble() && self.random.chance(5);
        let what = if fails {
            Work::PromotionFailed
        } else {
            Work::Promoted(epoch)
        };
        let drags_on =
            self.setup.kind == Kind::Deaths && self.is_trouble() && self.random.chance(50);
        let most = if drags_on { 8000 } else { 120 };
        if drags_on && self.random.chance(50) {
            let begins = self.random.millis(10, 1000);
            let fault = super::trouble::Fault::Isolate;
            self.schedule.after(begins, Event::Wrong { fault, node });
        }
        self.begin_work(node, what, 20, most);
    }

    pub(super) fn stop(&mut self, node: usize) {
        let dead = self.machines[node].database.state == State::Stopped;
        if dead && self.setup.is(Mutant::LeavesOrphans) {
            let position = Some(self.machines[node].database.log.position());
            self.call(node, Told::Empty { position });
            return;
        }
        self.begin_work(node, Work::Stopped, 20, 250);
    }

    pub(super) fn force_stop(&mut self, node: usize, within: Duration) {
        self.count("forced stops");
        let now = self.now();
        self.oracle
            .forced_stop(node, self.setup.kind == Kind::Hiccups, now);
        let database = &mut self.machines[node].database;
        if database.state == State::Promoting && self.setup.is(Mutant::StopsTheActionOnly) {
            let position = Some(self.machines[node].database.log.position());
            self.call(node, Told::Empty { position });
            return;
        }
        if database.stuck {
            // Whatever was begun ends no more either.
            database.work += 1;
            return;
        }
        // Within K, and often not by much.
        let most = u64::try_from(within.as_millis()).unwrap_or(0) * 95 / 100;
        self.begin_work(node, Work::Killed, 5, most);
    }

    pub(super) fn manager_ends(&mut self, node: usize, boots: u64, work: u64, what: Work) {
        let now = self.now();
        let machine = &mut self.machines[node];
        if machine.boots != boots || machine.database.work != work || !machine.on {
            return;
        }
        let database = &mut machine.database;
        match what {
            Work::Promoted(epoch) => {
                self.promotions += 1;
                database.state = State::Primary;
                database.promotion = self.promotions;
                database.waits_for = None;
                let (log, tainted) = (database.log.clone(), database.tainted);
                // By clocks that err.
                let up = now.saturating_sub(machine.clocks.since());
                let condition = Condition {
                    tainted,
                    reverted: machine.reverted,
                    young: up < self.cluster.boot_dead * 3 / 4,
                };
                self.oracle.begins(node, epoch, &log, condition, now);
                self.call(node, Told::Promoted);
            }
            Work::PromotionFailed => self.call(node, Told::PromotionFailed),
            Work::Stopped | Work::Killed => {
                let died = database.state == State::Stopped;
                if what == Work::Stopped && database.state == State::Primary {
                    self.drain(node);
                }
                // A server that was killed does not say how far it had written.
                let is_mute = self.setup.kind == Kind::Moves && self.random.chance(30);
                let says = what == Work::Killed || !is_mute;
                let database = &mut self.machines[node].database;
                let position = Some(database.log.position()).filter(|_| says);
                database.state = State::Stopped;
                database.orphan = false;
                database.blocked = false;
                database.waits_for = None;
                self.call(node, Told::Empty { position });
                if died && self.setup.is(Mutant::RestartsDuringRelease) {
                    self.begin_work(node, Work::Restarted, 100, 400);
                }
            }
            Work::Restarted => {
                database.state = State::Primary;
                database.orphan = false;
            }
        }
    }

    /// A database that is stopped in order sends what it has to whoever follows it.
    fn drain(&mut self, node: usize) {
        let log = self.machines[node].database.log.clone();
        for standby in (0..NODES).filter(|standby| *standby != node) {
            if self.follows(standby, node) {
                self.machines[standby].database.log = log.clone();
            }
        }
    }

    /// The database dies by itself.
    pub(super) fn dies(&mut self, node: usize) {
        let (orphan, restart) = (self.random.chance(50), self.random.chance(50));
        let database = &mut self.machines[node].database;
        if database.state != State::Primary {
            return;
        }
        database.state = State::Stopped;
        database.orphan = orphan;
        database.work += 1;
        self.count("deaths");
        self.say(|| format!("node {node}: database dies, orphan {orphan}"));
        self.call(node, Told::Died { restart });
    }

    /// Off, and on again a little later.
    pub(super) fn power_cycle(&mut self, node: usize) {
        self.machines[node].lose_power();
        self.say(|| format!("node {node}: power off"));
        let boots = self.machines[node].boots;
        let delay = self.random.millis(1500, 6000);
        self.schedule.after(delay, Event::Boot { node, boots });
    }

    pub(super) fn boot(&mut self, node: usize, boots: u64) {
        let now = self.now();
        let machine = &mut self.machines[node];
        if machine.on || machine.boots != boots {
            return;
        }
        machine.on = true;
        machine.boots += 1;
        machine.clocks.begin(now);
        let boots = machine.boots;
        self.say(|| format!("node {node}: boots"));
        self.schedule.after(
            Duration::from_millis(200),
            Event::AgentStart { node, boots },
        );
    }
}
