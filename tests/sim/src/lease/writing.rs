//! The way between coordinators and the store, and what comes of what was written.

use interlock_engine::lease::leader::Event as Told;
use interlock_engine::lease::{LeaseRecord, Stored};
use interlock_model::lease::ControlLoss;
use serde_json::{Value, json};

use super::event::{Event, Payload, Place, Purpose};
use super::mutant::Mutant;
use super::run::Run;
use super::store::Careless;

impl Run {
    pub(super) fn store_hears(&mut self, c: usize, life: u64, payload: Payload) {
        let now = self.now();
        if self.store.down_until > now {
            return;
        }
        let answer = match payload {
            Payload::Read(purpose) => Payload::HasRead(purpose, self.store.now.clone()),
            Payload::Commit {
                transaction,
                purpose,
            } => {
                let term = match &purpose {
                    Purpose::Decide { term, .. } => Some(*term),
                    Purpose::Lead { .. } | Purpose::Renew { .. } | Purpose::Release { .. } => None,
                };
                let careless = match self.setup.mutant {
                    Some(Mutant::CountsFromWatch) if term.is_some() => Careless::ByEpoch,
                    Some(Mutant::IgnoresClaims) => Careless::OfClaims,
                    _ => Careless::No,
                };
                let before = self.store.now.record.clone();
                let committed = self.store.commit(&transaction, term, careless, now);
                if committed {
                    self.committed(before.as_ref().map(|(record, _)| record));
                }
                Payload::HasCommitted(purpose, committed)
            }
            _ => return,
        };
        if self.coordinators[c].life == life {
            self.send(Place::Store, Place::Coordinator(c), answer);
        }
    }

    fn committed(&mut self, before: Option<&LeaseRecord>) {
        let now = self.now();
        let stored = self.store.now.clone();
        if let Some((after, _)) = &stored.record {
            let operation = self.store.operation;
            self.oracle.written(before, after, operation, now);
            self.given_back(before, after);
            if before.is_none_or(|before| before.epoch() < after.epoch()) {
                self.count("bumps");
                let notes = after
                    .exclusions()
                    .values()
                    .next_back()
                    .map(ToString::to_string);
                self.say(|| {
                    format!(
                        "store: {} to {:?} since {notes:?}",
                        after.epoch(),
                        after.holder()
                    )
                });
            }
        }
        for coordinator in 0..self.coordinators.len() {
            let stalled = self.coordinators[coordinator].watch_stalls_until;
            let delay = self.random.millis(1, 40).max(stalled.saturating_sub(now));
            let life = self.coordinators[coordinator].life;
            let stored = stored.clone();
            self.schedule.after(
                delay,
                Event::Watched {
                    coordinator,
                    life,
                    stored,
                },
            );
        }
    }

    pub(super) fn store_answers(&mut self, c: usize, payload: Payload) {
        if !self.coordinators[c].alive {
            return;
        }
        match payload {
            Payload::HasRead(Purpose::Lead { term }, stored) if self.leads(c, term) => {
                let stored = self.lied_to(stored);
                self.lead_with(c, Told::Read(stored));
            }
            Payload::HasRead(
                Purpose::Renew {
                    node,
                    request,
                    tries,
                    ..
                },
                stored,
            ) => {
                self.try_renew(c, node, request, &stored, tries);
            }
            Payload::HasRead(
                Purpose::Release {
                    node,
                    report,
                    tries,
                },
                stored,
            ) => {
                self.try_release(c, node, report, &stored, tries);
            }
            Payload::HasCommitted(Purpose::Decide { term, id }, committed)
                if self.leads(c, term) =>
            {
                let flying = &mut self.coordinators[c].flying;
                flying.take_if(|(flies, _)| *flies == id);
                let told = if committed {
                    Told::Committed(id)
                } else {
                    Told::NotCommitted(id)
                };
                self.lead_with(c, told);
            }
            Payload::HasCommitted(
                Purpose::Renew {
                    node,
                    request,
                    terms,
                    tries,
                },
                committed,
            ) => {
                if committed {
                    self.acknowledge(c, node, &request, terms);
                } else if tries < 2 {
                    let purpose = Purpose::Renew {
                        node,
                        request,
                        terms: None,
                        tries: tries + 1,
                    };
                    self.send(Place::Coordinator(c), Place::Store, Payload::Read(purpose));
                }
            }
            Payload::HasCommitted(
                Purpose::Release {
                    node,
                    report,
                    tries,
                },
                committed,
            ) => {
                if committed {
                    let payload = Payload::ReleaseWritten(report.epoch);
                    self.send(Place::Coordinator(c), Place::Node(node), payload);
                } else if tries < 2 {
                    let purpose = Purpose::Release {
                        node,
                        report,
                        tries: tries + 1,
                    };
                    self.send(Place::Coordinator(c), Place::Store, Payload::Read(purpose));
                }
            }
            _ => {}
        }
    }

    /// What a careless program would tell its leader of the store.
    fn lied_to(&self, mut stored: Stored) -> Stored {
        if self.setup.is(Mutant::IgnoresClaims) {
            stored.operation = None;
        }
        let Some(mutant) = self.setup.mutant else {
            return stored;
        };
        edited(&stored, |record| match mutant {
            Mutant::ExpiresHolders => {
                record["terms"]["on_control_loss"] = json!(ControlLoss::Demote);
                record["safeguards"]["client_path"] = json!(true);
            }
            Mutant::ForgetsHandOvers if record["holder"].is_null() => {
                record["hand_over"] = Value::Null;
            }
            Mutant::AsksAgain => record["returned"] = Value::Null,
            Mutant::ForgetsProven => record["proven"] = Value::Null,
            Mutant::TakesNewMembers if record["renewed"].is_null() => {
                record["terms"]["members"] = json!(self.spec.members);
            }
            Mutant::LosesInMoves
                if record["holder"].is_null() && record["hand_over"].is_object() =>
            {
                let ended = record["data"]["ended_at"].as_u64();
                let limit = self.spec.max_lag;
                record["data"]["ended_at"] = json!(ended.map(|it| it.saturating_sub(limit)));
            }
            Mutant::CountsBySpec => record["terms"]["timings"] = json!(self.spec.timings),
            Mutant::IgnoresIncarnation => record["incarnation"] = json!(self.store.incarnation()),
            _ => {}
        })
    }
}

/// The same with another record.
pub(super) fn edited(stored: &Stored, edit: impl FnOnce(&mut Value)) -> Stored {
    let mut stored = stored.clone();
    if let Some((record, _)) = &mut stored.record {
        let mut value = serde_json::to_value(&*record).expect("a record is serialised");
        edit(&mut value);
        *record = serde_json::from_value(value).expect("a record is read back");
    }
    stored
}
