//! A store that is restored from a backup: it goes back, and the agents do not (safety rule E11).
//!
//! The incarnation stays: it is the same store, as a file that was copied back is. What the program does about agents
//! that are ahead of it is in `coordinator/src/driver`: it raises its term above theirs before it listens to them.
//! Nobody restores a backup as fast as a message travels: what the dead had sent has arrived by then, or never does.

use std::time::Duration;

use interlock_engine::coordinator::Hello;
use interlock_model::ids::{OperationId, Term};
use interlock_model::names::NodeName;

use super::{Event, SessionId, Simulation};
use crate::fact::Fact;
use crate::mutant::Mutant;
use crate::store::Store;

/// How often the store is copied.
const BACKUP: Duration = Duration::from_secs(4);

/// How many copies are kept.
const KEPT: usize = 5;

/// A copy of the store.
#[derive(Debug)]
pub(super) struct Backup {
    store: Store,
    term: Term,
}

impl Simulation {
    /// Copies the store, and will again.
    pub(super) fn back_up(&mut self) {
        if !self.troubled() {
            return;
        }
        self.schedule.after(BACKUP, Event::BackUp);
        if self.backups.len() == KEPT {
            self.backups.remove(0);
        }
        self.backups.push(Backup {
            store: self.store.clone(),
            term: self.term,
        });
    }

    /// The coordinator is dead, and its store with it, once in a while: an earlier copy takes its place.
    pub(super) fn may_restore(&mut self) {
        if !self.setup.restores || !self.troubled() || !self.fates.chance(50) {
            return;
        }
        let count = self.backups.len() as u64;
        let at = usize::try_from(self.fates.below(count)).unwrap_or(0);
        let Some(backup) = self.backups.get(at) else {
            return;
        };
        self.store = backup.store.clone();
        self.term = backup.term;
        // What was copied later is of a line that has ended.
        self.backups.truncate(at + 1);
        self.network.forget();
        self.report.restored += 1;
        self.say(|| "the store is restored from a backup".to_owned());
        self.tell_all(&Fact::Restored);
    }

    /// May a hello be listened to? Not before the term of this process is one that its agent knows from nobody else.
    pub(super) fn welcomes(&mut self, node: &NodeName, hello: &Hello, id: SessionId) -> bool {
        let now = self.clocks();
        let Some(process) = &mut self.process else {
            return false;
        };
        if process.engine.believe(node, hello, now).is_err() {
            self.drop_session(id);
            return false;
        }
        let (seen, own) = (hello.highest_term, process.term);
        let is_foreign = seen > own || seen == own && !process.welcomed.contains(node);
        if !is_foreign || self.setup.mutant == Some(Mutant::SharesTerm) {
            process.welcomed.insert(node.clone());
            return true;
        }
        if process
            .engine
            .fell_behind(node, &format!("term {seen}"), now)
        {
            // Durable first; the agent says hello again.
            self.drive();
            self.drop_session(id);
            return false;
        }
        let raised = self.term.max(seen).next();
        self.term = raised;
        process.term = raised;
        process.engine.set_term(raised);
        self.say(|| format!("{node} remembers term {seen}: the term is raised to {raised}"));
        self.drop_session(id);
        false
    }

    /// What a coordinator that does not care hears of a hello.
    pub(super) fn without_memory(&self, mut hello: Hello) -> Hello {
        if self.setup.mutant == Some(Mutant::TrustsStrangers) {
            hello.attempts.clear();
            hello.highest_operation = OperationId(0);
            hello.closed_below = OperationId(0);
        }
        hello
    }
}
