//! The forced stop (safety rule E14): path, addresses, SIGKILL, and the proof that nothing is left.
//!
//! Nothing here waits. Whatever is not gone yet is hit again a few milliseconds later, until all of it is. Three things can
//! only be waited for, and until then nobody says *empty*: a start that is under way on the runtime, which may yet bring
//! something up; a process in an uninterruptible sleep; and parts that no system call ends, such as what a command of the
//! agent's file has started, a unit without processes, or a run whose shim is gone and which has no control group: whether
//! that shim has waited for all or was killed is on record, and nobody reads a file here. Those are finished by their managers
//! afterwards.

use std::time::Duration;

use interlock_engine::lease::Clock;
use interlock_model::action::Part;

use super::input::{Rest, Task};
use super::seat::{Seat, Shell};
use crate::shim::{Grip, Left};

/// The pause between two blows while a forced stop is young, and later.
const SOON: Duration = Duration::from_millis(4);
const LATER: Duration = Duration::from_millis(50);

/// How long it is young.
const YOUNG: Duration = Duration::from_millis(500);

/// How often it is said that a forced stop hangs.
const COMPLAIN: Duration = Duration::from_secs(1);

/// A forced stop that is under way.
#[derive(Debug)]
pub(super) struct Force {
    pub(super) why: String,
    begun: Clock,
    within: Duration,
    /// Have managers said that all of it is down?
    finished: bool,
    /// Was it stopped in order before, so that only the proof is missing?
    ordered: bool,
    complained: Option<Clock>,
}

impl Force {
    pub(super) fn new(why: String, within: Duration, begun: Clock) -> Self {
        Self {
            why,
            begun,
            within,
            finished: false,
            ordered: false,
            complained: None,
        }
    }

    /// The proof that a stop in order has left nothing, and the end of what it has left: a manager calls a unit down
    /// whose processes it could not end, and a check command sees what it looks for.
    pub(super) fn after_order(within: Duration, begun: Clock) -> Self {
        Self {
            finished: true,
            ordered: true,
            ..Self::new(
                "its stop has left something behind".to_owned(),
                within,
                begun,
            )
        }
    }

    /// What managers were asked to finish is down.
    pub(super) fn finished(&mut self) {
        self.finished = true;
    }

    /// When to strike again.
    pub(super) fn again_in(&self, now: Clock) -> Duration {
        if now.longest_since(self.begun) < YOUNG {
            SOON
        } else {
            LATER
        }
    }
}

impl Seat {
    /// Strikes once more; true when it is proven that nothing is left.
    pub(super) fn strike(&mut self, now: Clock, shell: &mut Shell) -> bool {
        if self.force.is_none() {
            return false;
        }
        if let Some(work) = &self.work {
            work.interrupt();
        }
        let mut left: Vec<String> = Vec::new();
        let closed = self.door.close();
        if let Err(why) = self.door.clear() {
            left.push(why);
        }
        let mut unproven = self.unproven;
        for (part, grip) in self.held() {
            let struck = grip.left().and_then(|now| match now {
                Left::Something => grip.kill().and_then(|()| grip.left()),
                Left::Nothing | Left::NothingFound => Ok(now),
            });
            match struck {
                Ok(Left::Nothing) => {}
                Ok(Left::NothingFound) => unproven = true,
                Ok(Left::Something) => left.push(format!("{part} is not dead yet")),
                Err(error) => left.push(format!("{part} may run: {error}")),
            }
        }
        // Nobody reaches an address that is gone, whether its path is closed or not.
        if self.door.is_clear() != Ok(true) {
            left.push("an address is still here".to_owned());
            left.extend(closed.err());
        }
        let ends_by_managers = unproven || self.ends_by_managers();
        if let Some(work) = &self.work {
            left.push(format!("{} is under way", work.what()));
        } else if ends_by_managers && !self.force.as_ref().is_some_and(|force| force.finished) {
            left.push("its managers are asked to end the rest".to_owned());
            if self.may_finish(now) {
                self.begin(Task::Finish, shell);
            }
        }
        if left.is_empty() {
            if let Some(force) = self.force.take() {
                let took = now.longest_since(force.begun);
                if force.ordered {
                    tracing::info!(service = %self.service, ?took, "nothing is left of it");
                } else {
                    tracing::warn!(service = %self.service, ?took, "stopped by force: {}; nothing is left", force.why);
                }
            }
            self.grips.clear();
            self.unproven = false;
            return true;
        }
        self.complain(now, &left.join("; "));
        false
    }

    /// Its server has died, and has left something: nothing of that has a right any more. What was begun since the server was last
    /// seen may have put another one in its place, and what is being started or stopped is its manager's: that only this thread knows.
    pub(super) fn end_rest(&self, rest: &Rest) {
        let nothing_began = rest.turn == self.turn && self.work.is_none() && self.force.is_none();
        if nothing_began && self.holder.is_primary() {
            rest.end();
        }
    }

    /// What is to be ended: not what was seen to have become a standby, which goes on as that.
    fn held(&self) -> impl Iterator<Item = &(Part, Grip)> {
        let grips = self.grips.iter();
        grips.filter(|(part, _)| !self.demoted.contains(part))
    }

    /// Is there anything that no system call of ours ends for good, or of which we have no hold?
    fn ends_by_managers(&self) -> bool {
        self.leased.parts.iter().any(|part| match part {
            Part::Exec { .. } | Part::Ocf(_) => true,
            Part::Process { .. }
            | Part::Systemd { .. }
            | Part::Postgres(_)
            | Part::Redis(_)
            | Part::Mariadb(_) => {
                let gone = self.demoted.contains(part);
                !gone && !self.grips.iter().any(|(held, _)| held == part)
            }
            Part::Address(_) => false,
        })
    }

    /// K is over.
    fn complain(&mut self, now: Clock, left: &str) {
        let Some(force) = &mut self.force else {
            return;
        };
        let late = now.longest_since(force.begun) >= force.within;
        let due = force
            .complained
            .is_none_or(|last| now.longest_since(last) >= COMPLAIN);
        if late && due {
            force.complained = Some(now);
            tracing::error!(
                service = %self.service,
                "its forced stop ({}) is not done within {:?}: {left}. This node does not say that its role is free",
                force.why, force.within
            );
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use interlock_engine::lease::holder::{Facts, Found, Mark};
    use interlock_model::ids::BootId;
    use interlock_model::lease::{Epoch, Holder as Member};
    use interlock_model::postgres::{Postgres, Rejoin, Synchronous};
    use interlock_model::spec::{Clients, GuardPolicy};
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::*;
    use crate::config::{Reset, WatchdogMode};
    use crate::roles::{Door, Leased, Newcomer, Order, clock};
    use crate::watchdog::{Dog, Report};

    fn part() -> Part {
        Part::Postgres(Postgres {
            cluster: "main".parse().unwrap(),
            port: 5432,
            user: "replicator".to_owned(),
            synchronous: Synchronous::Off,
            rejoin: Rejoin::Never,
        })
    }

    /// What a seat is kept with, and what it has the runtime do.
    pub(in crate::roles) fn shell() -> (Shell, UnboundedReceiver<Order>) {
        let (jobs, _) = std::sync::mpsc::channel();
        let (works, orders) = tokio::sync::mpsc::unbounded_channel();
        let me = Member {
            node: "db1".parse().unwrap(),
            boot: BootId("b1".to_owned()),
        };
        let shell = Shell {
            me,
            reset: Reset::Off,
            mails: Vec::new(),
            jobs,
            works,
            questions: tokio::sync::mpsc::unbounded_channel().0,
            dog: Dog::new(
                WatchdogMode::Off,
                Err(String::new()),
                tokio::sync::watch::Sender::new(Report::default()),
            ),
            tenures: None,
        };
        (shell, orders)
    }

    /// A seat whose agent has just found its primary, which may go on without an end.
    pub(in crate::roles) fn primary(shell: &mut Shell) -> Seat {
        let kept = r#"{"boot":"b1","epoch":3,"agreed":{"terms":{"timings":{"renewal":"250ms","life":"2450ms","fence":"1900ms",
            "stop":"200ms","watchdog":"1s","pet_age":"1100ms","rate_error":50},"on_control_loss":"hold","vm_pause":"accepted",
            "members":["db1"],"max_lag":0},"since":{"boottime":"1s","raw":"1s"}},"renewed":{"boottime":"1s","raw":"1s"},
            "proposed":null}"#;
        let mark = Mark {
            epoch: Epoch(3),
            boot: shell.me.boot.clone(),
        };
        let newcomer = Newcomer {
            service: "db".parse().unwrap(),
            leased: Leased {
                parts: Arc::from([part()]),
                peers: Arc::from([]),
                clients: Clients::Any,
                guard: GuardPolicy {
                    budget: 3,
                    window: Duration::from_secs(60),
                    backoff: Duration::from_secs(1),
                },
                everywhere: true,
            },
            found: Found::Primary,
            door: Door::make(&[], Clients::Any, Found::Primary),
            grips: Vec::new(),
            facts: Facts {
                seen: Epoch(3),
                mark: Some(mark),
                ..Facts::default()
            },
            kept: Some(serde_json::from_str(kept).unwrap()),
        };
        let seat = Seat::take(newcomer, shell);
        assert!(seat.holder.is_primary());
        seat
    }

    fn group(at: &Path) -> Grip {
        let id = std::process::id();
        std::fs::write(at.join("cgroup.events"), "populated 1\n").unwrap();
        std::fs::write(at.join("cgroup.procs"), format!("{id}\n")).unwrap();
        std::fs::write(at.join("cgroup.kill"), "").unwrap();
        Grip::of_group(at.to_owned(), id).unwrap()
    }

    #[test]
    fn that_nothing_is_found_of_a_run_whose_shim_is_gone_is_no_end_of_a_forced_stop() {
        let (mut shell, mut orders) = shell();
        let mut seat = primary(&mut shell);
        let mut shim = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        seat.grips = vec![(part(), Grip::of_shim(shim.id()))];
        shim.kill().unwrap();
        shim.wait().unwrap();
        let now = clock::read();
        seat.force = Some(Force::new("a test".to_owned(), Duration::from_secs(1), now));
        assert!(!seat.strike(now, &mut shell));
        assert!(orders.try_recv().is_ok(), "its manager is asked");
        seat.done(seat.turn, Err("nothing proves it".to_owned()), &mut shell);
        assert!(!seat.strike(now, &mut shell));
        let later = Clock {
            boottime: now.boottime + Duration::from_secs(60),
            raw: now.raw + Duration::from_secs(60),
        };
        assert!(!seat.strike(later, &mut shell));
        seat.done(seat.turn, Ok("it has ended".to_owned()), &mut shell);
        assert!(seat.strike(later, &mut shell));
    }

    #[test]
    fn what_a_dead_server_has_left_is_not_ended_once_another_one_may_be_in_its_place() {
        let (mut shell, _orders) = shell();
        let mut seat = primary(&mut shell);
        let dir = tempfile::tempdir().unwrap();
        let kill = dir.path().join("cgroup.kill");
        let asked = |seat: &Seat, turn| {
            let rest = Rest {
                turn,
                part: part(),
                grip: group(dir.path()),
            };
            seat.end_rest(&rest);
            std::fs::read_to_string(&kill).unwrap() == "1"
        };
        let seen = seat.turn;
        assert!(asked(&seat, seen));
        seat.begin(Task::Start, &shell);
        assert!(!asked(&seat, seat.turn), "it is being started");
        seat.done(seat.turn, Ok("it runs".to_owned()), &mut shell);
        assert!(!asked(&seat, seen), "another one runs");
        assert!(asked(&seat, seat.turn), "and has died");
    }
}
