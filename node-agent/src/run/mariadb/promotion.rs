//! A replica becomes the primary, and the primary a replica.

use std::time::Duration;

use interlock_model::action::Part;
use interlock_model::mariadb::Mariadb;
use tokio::time::{Instant, timeout_at};

use super::CHANGE;
use crate::mariadb::Observed;
use crate::roles::Work;
use crate::run::errand::{Errand, Trouble};
use crate::run::hands::Hands;
use crate::run::managers::chain;

/// How long what was received may take to be applied. Longer, and the role is given back: another one may have applied more.
const APPLY: Duration = Duration::from_secs(120);

/// How long the end of all writing may take, with all that it waits for. Longer, and the server is ended by force.
const TURN: Duration = Duration::from_secs(6);

impl Hands {
    /// Promotes a server: one that is down is started read-only before, by what its disk has. By the right of its seat, which ends
    /// the server by force if that is lost meanwhile.
    pub(in crate::run) async fn promote_mariadb(
        &self,
        work: &Work,
        mariadb: &Mariadb,
        index: usize,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let server = self
            .managers
            .mariadb
            .get(mariadb)
            .map_err(Trouble::Failed)?;
        // Before anything is waited for: what came of an earlier epoch says nothing of this one.
        if !work.again {
            server.known().asked = Some(false);
        }
        let _acting = errand.turn(&server.acting).await?;
        let promote = async {
            let failed = |error: crate::mariadb::Error| Trouble::Failed(chain(&error));
            let mut observed = server.observe().await;
            if !matches!(&observed, Ok(Observed::Up(_))) {
                self.managers.start_read_only(server, errand).await?;
                observed = server.observe().await;
            }
            // Before it accepts anything: what it takes to end it at once.
            let part = Part::Mariadb(mariadb.clone());
            match self.grip(&work.service, index, &part).await {
                Some(grip) => self.roles.grip(&work.service, &part, grip),
                None => {
                    return Err(Trouble::Failed(
                        "it is not promoted: nothing here could end it at once".to_owned(),
                    ));
                }
            }
            match &observed {
                Ok(Observed::Up(facts)) if !facts.read_only => {
                    return Ok("primary already".to_owned());
                }
                Ok(Observed::Up(facts)) => {
                    if let Some(why) = server.written_here(facts) {
                        return Err(Trouble::Failed(format!("it is not promoted: {why}")));
                    }
                }
                Ok(Observed::Stopped) => {
                    return Err(Trouble::Failed(
                        "it is not promoted: nobody listens at its socket".to_owned(),
                    ));
                }
                Err(error) => {
                    let why = chain(error);
                    return Err(Trouble::Failed(format!("it is not promoted: {why}")));
                }
            }
            let objection = server.mariadb.objection(CHANGE).await.map_err(failed)?;
            if let Some(why) = objection {
                return Err(Trouble::Failed(format!("it is not promoted: {why}")));
            }
            // It has not taken a write yet, and may not get that far.
            server.mariadb.apply(APPLY).await.map_err(failed)?;
            {
                let mut known = server.known();
                (known.asked, known.own) = (Some(true), None);
            }
            let promoted = server.mariadb.promote(APPLY).await.map_err(failed)?;
            let from = promoted.last().map_or_else(
                || "the first transaction".to_owned(),
                |last| last.to_string(),
            );
            Ok(format!("promoted, from {from} on"))
        };
        let promoted = tokio::select! {
            promoted = promote => promoted,
            // Whoever halts this ends the server as well.
            halt = errand.halted() => Err(Trouble::unknown(format!("{halt} while it was promoted"), true)),
        };
        server.stirred.notify_one();
        promoted
    }

    /// Has a server refuse writes, which goes on running and sends its log. What is not seen to refuse them is for its seat to
    /// end by force.
    pub(in crate::run) async fn demote_mariadb(
        &self,
        work: &Work,
        mariadb: &Mariadb,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let server = self
            .managers
            .mariadb
            .get(mariadb)
            .map_err(Trouble::Failed)?;
        let until = Instant::now() + TURN;
        let late = |_| Trouble::Failed(format!("it does not refuse writes within {TURN:?}"));
        let acting = timeout_at(until, errand.turn(&server.acting)).await;
        let _acting = acting.map_err(late)??;
        let run = self.managers.look_at_runner(&server.run).await;
        if run.state.is_down() {
            return Ok(format!("already {}", run.text()));
        }
        let demote = async {
            // Its next start, whoever makes it, is after the role is given back.
            let prepared = server.mariadb.prepare_start().await;
            prepared.map_err(|error| Trouble::Failed(chain(&error)))?;
            let left = until.saturating_duration_since(Instant::now());
            let demoted = server.mariadb.demote(left).await;
            demoted.map_err(|error| Trouble::Failed(chain(&error)))
        };
        let demoted = tokio::select! {
            demoted = timeout_at(until, demote) => demoted.map_err(late)??,
            // Whoever halts this ends the server.
            halt = errand.halted() => {
                return Err(Trouble::unknown(format!("{halt} while it was to refuse writes"), true));
            }
        };
        let never = server.known().asked == Some(false) && !demoted.was_primary;
        if !demoted.was_primary && !never {
            return Err(Trouble::Failed(
                "it refuses writes already, and nobody here had it do so: how far it had written is not known"
                    .to_owned(),
            ));
        }
        if never {
            self.roles.unwritten(&work.service);
        }
        // What is in its log is on its disk, whatever it was in between.
        let position = demoted.facts.position().ok().filter(|_| !never);
        self.roles.ended(&work.service, position);
        let part = Part::Mariadb(mariadb.clone());
        self.roles.demoted(&work.service, &part);
        server.stirred.notify_one();
        if never {
            return Ok("refuses writes; it was not promoted".to_owned());
        }
        let at = demoted.facts.last().map_or_else(
            || "it wrote nothing".to_owned(),
            |last| format!("it ended at {last}"),
        );
        Ok(format!(
            "refuses writes; {at}; {} sessions were ended",
            demoted.ended
        ))
    }
}
