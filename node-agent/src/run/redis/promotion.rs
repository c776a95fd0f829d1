//! A replica becomes the primary, and the primary a replica.

use std::time::Duration;

use interlock_model::action::Part;
use interlock_model::redis::Redis;

use super::{CHANGE, Server, upstream};
use crate::redis::{Observed, Role};
use crate::roles::Work;
use crate::run::errand::{Errand, Trouble};
use crate::run::hands::Hands;
use crate::run::managers::chain;

/// How long replicas are waited for before the primary turns. Writes are held back meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it may take to see that its next start is that of a replica.
const FILES: Duration = Duration::from_secs(2);

/// How long all of that may take.
const TURN: Duration = Duration::from_secs(4);

impl Hands {
    /// Promotes a server that runs as a replica. By the right of its seat, which ends the server by force if that is lost
    /// meanwhile. One that is down is not started for it: what was told of its data was in its memory.
    pub(in crate::run) async fn promote_redis(
        &self,
        work: &Work,
        redis: &Redis,
        index: usize,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let server = self.managers.redis.get(redis).map_err(Trouble::Failed)?;
        let _acting = errand.turn(&server.acting).await?;
        let promote = async {
            let failed = |error: crate::redis::Error| Trouble::Failed(chain(&error));
            if !work.again {
                let mut known = server.known();
                (known.asked, known.counted) = (Some(false), None);
            }
            // Before it accepts anything: what it takes to end it at once.
            let part = Part::Redis(redis.clone());
            let look =
                || async { tokio::join!(server.observe(), self.grip(&work.service, index, &part)) };
            let mut told = server.told();
            let (mut observed, mut grip) = look().await;
            if !matches!(&observed, Ok(Observed::Up(_))) {
                let run = self.managers.look_at_runner(&server.run).await;
                if work.again || run.state.is_down() {
                    let run = run.text();
                    return Err(Trouble::Failed(format!(
                        "it is not promoted: its server is gone, with what it had in memory, or does not answer ({run})"
                    )));
                }
                // It comes up, and is waited for.
                self.managers.start_replica(server, errand).await?;
                told = server.told();
                (observed, grip) = look().await;
            }
            match grip {
                Some(grip) => self.roles.grip(&work.service, &part, grip),
                None => {
                    return Err(Trouble::Failed(
                        "it is not promoted: nothing here could end it at once".to_owned(),
                    ));
                }
            }
            let facts = match &observed {
                Ok(Observed::Up(facts)) => facts,
                Ok(Observed::Stopped) => {
                    return Err(Trouble::Failed(
                        "it is not promoted: nobody listens at its port".to_owned(),
                    ));
                }
                Err(error) => {
                    let why = chain(error);
                    return Err(Trouble::Failed(format!("it is not promoted: {why}")));
                }
            };
            let why = match &facts.role {
                Role::Primary(_) => return Ok("primary already".to_owned()),
                Role::Replica(_) if facts.loading => Some("it reads its data".to_owned()),
                Role::Replica(replica) if replica.copying => Some(format!(
                    "it is being filled from {}: its own data are gone",
                    replica.host
                )),
                Role::Replica(_) => match server.not_what_it_had(facts, told.as_ref()) {
                    None => server.redis.objection(CHANGE).await.map_err(failed)?,
                    why => why,
                },
            };
            if let Some(why) = why {
                return Err(Trouble::Failed(format!("it is not promoted: {why}")));
            }
            // Before it takes a write: whoever starts it again has less than this process.
            let run_id = &facts.run_id;
            let noted = server.note.leads(None, run_id).await;
            noted.map_err(|error| {
                let path = server.note.path().display();
                Trouble::Failed(format!(
                    "it is not promoted: that it leads cannot be noted in {path}: {error}"
                ))
            })?;
            server.known().asked = Some(true);
            let promoted = server.redis.promote(CHANGE).await.map_err(failed)?;
            if promoted.run_id != *run_id {
                return Err(Trouble::Failed(
                    "it was started again while it was promoted: what it had in memory is gone"
                        .to_owned(),
                ));
            }
            let data = promoted.data();
            if let Some(data) = &data
                && let Err(error) = server.note.leads(Some(&data.line), run_id).await
            {
                tracing::error!(service = %work.service, %error, "of which line its data are is not noted");
            }
            let at = data.map_or_else(
                || "nobody counts yet".to_owned(),
                |data| format!("from {} on", data.offset),
            );
            Ok(format!("promoted, {at}"))
        };
        let promoted = tokio::select! {
            promoted = promote => promoted,
            // Whoever halts this ends the server as well.
            halt = errand.halted() => Err(Trouble::unknown(format!("{halt} while it was promoted"), true)),
        };
        server.stirred.notify_one();
        promoted
    }

    /// Has a server refuse writes, as a replica of nobody that goes on running; its replicas get the last writes before. What is
    /// not seen to refuse them is for its seat to end by force.
    pub(in crate::run) async fn demote_redis(
        &self,
        work: &Work,
        redis: &Redis,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let server = self.managers.redis.get(redis).map_err(Trouble::Failed)?;
        let _acting = errand.turn(&server.acting).await?;
        tokio::select! {
            demoted = self.demote_held(work, redis, server) => demoted,
            // Whoever halts this ends the server by force: that must not wait for a server, or a disk, that hangs.
            halt = errand.halted() => Err(Trouble::unknown(format!("{halt} while it was to refuse writes"), true)),
        }
    }

    async fn demote_held(
        &self,
        work: &Work,
        redis: &Redis,
        server: &Server,
    ) -> Result<String, Trouble> {
        let run = self.managers.look_at_runner(&server.run).await;
        if run.state.is_down() {
            return Ok(format!("already {}", run.text()));
        }
        // Its next start, whoever makes it, is after the role is given back.
        let prepared = server.redis.prepare_start(FILES).await;
        prepared.map_err(|error| Trouble::Failed(chain(&error)))?;
        let others: Vec<_> = work
            .peers
            .iter()
            .map(|peer| upstream(redis, peer))
            .collect();
        let demoted = server.redis.demote(&others, PATIENCE, TURN).await;
        let demoted = demoted.map_err(|error| Trouble::Failed(chain(&error)))?;
        let never = server.known().asked == Some(false);
        let why = if demoted.was_primary {
            let another = server.note.has_led_before(&demoted.run_id);
            another.then_some("it is another process than the one that was promoted")
        } else {
            (!never).then_some("it is a replica already, and nobody here made it one")
        };
        if let Some(why) = why {
            return Err(Trouble::Failed(format!(
                "{why}: how far it had written is not known"
            )));
        }
        if never {
            self.roles.unwritten(&work.service);
        }
        let line = demoted.data.as_ref().map(|data| data.line.as_str());
        if !never && let Err(error) = server.note.ends(line, &demoted.run_id).await {
            tracing::error!(service = %work.service, %error, "of which line its data are is not noted");
        }
        // Only what a primary had is how far it had written.
        let data = demoted.data.filter(|_| demoted.was_primary);
        let offset = data.map(|data| data.offset);
        self.roles.ended(&work.service, offset);
        self.roles
            .demoted(&work.service, &Part::Redis(redis.clone()));
        server.stirred.notify_one();
        if !demoted.was_primary {
            return Ok("refuses writes; it was not promoted".to_owned());
        }
        let at = offset.map_or_else(
            || "nobody counted its writes".to_owned(),
            |offset| format!("it ended at {offset}"),
        );
        let complete: Vec<&str> = demoted.complete.iter().map(|node| node.as_str()).collect();
        Ok(match complete.as_slice() {
            [] => format!("refuses writes; {at}, and nobody is known to have all of it"),
            nodes => format!(
                "refuses writes; {at}, and {} has all of it",
                nodes.join(", ")
            ),
        })
    }
}
