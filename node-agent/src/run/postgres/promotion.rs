//! A standby becomes the primary.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_model::postgres::{Postgres, Synchronous};

use super::{Asked, CHANGE, Server, any_of};
use crate::postgres::{Observed, Role, Trouble as Why};
use crate::roles::Work;
use crate::run::errand::{Errand, Trouble};
use crate::run::hands::Hands;
use crate::run::managers::chain;

/// How long is waited for a promotion, and for its first write, before it is asked for again: a standby first applies all that
/// it has.
const LIMIT: Duration = Duration::from_secs(10);

impl Hands {
    /// Promotes a server, which is started as a standby if it does not run. By the right of its seat, which ends the server by
    /// force if that is lost meanwhile.
    pub(in crate::run) async fn promote(
        &self,
        work: &Work,
        postgres: &Postgres,
        index: usize,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let server = self
            .managers
            .servers
            .get(postgres)
            .map_err(Trouble::Failed)?;
        if !work.again {
            server.known().asked = Asked::Never;
        }
        let _acting = errand.turn(&server.acting).await?;
        let promoted = tokio::select! {
            promoted = self.promote_held(work, postgres, index, server, errand) => promoted,
            // Whoever halts this ends the server as well.
            halt = errand.halted() => Err(Trouble::unknown(format!("{halt} while it was promoted"), true)),
        };
        server.stirred.notify_one();
        promoted
    }

    async fn promote_held(
        &self,
        work: &Work,
        postgres: &Postgres,
        index: usize,
        server: &Server,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let failed = |error: crate::postgres::Error| Trouble::Failed(chain(&error));
        // Before it accepts anything: what it takes to end it at once.
        let part = interlock_model::action::Part::Postgres(postgres.clone());
        let look =
            || async { tokio::join!(server.observe(), self.grip(&work.service, index, &part)) };
        let (mut observed, mut grip) = look().await;
        if !matches!(&observed, Ok(Observed::Up(_))) {
            self.managers.start_standby(server, errand).await?;
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
        if let Ok(Observed::Up(facts)) = &observed
            && let Role::Primary(_) = facts.role
        {
            let kept = server.cluster.keep_standby(CHANGE).await;
            kept.map_err(failed)?;
            return Ok(format!("primary on timeline {} already", facts.timeline));
        }
        if !work.again {
            // Whom its writes wait for is what its new role says, and nothing of an earlier one.
            let names = match postgres.synchronous {
                Synchronous::Off | Synchronous::On => None,
                Synchronous::Strict => Some(any_of(work.peers.iter().map(|it| it.node.clone()))),
            };
            let changed = server.cluster.synchronous(names.as_ref(), CHANGE).await;
            changed.map_err(failed)?;
            server.known().degrading = None;
            // Its standbys need them to follow it, and a first write may wait for one of them.
            let peers: BTreeSet<_> = work.peers.iter().map(|peer| peer.node.clone()).collect();
            if let Err(error) = server.cluster.slots(&peers, CHANGE).await {
                tracing::warn!(service = %work.service, "its standbys have no slots yet: {}", chain(&error));
            }
        }
        if !work.again {
            server.known().asked = match &observed {
                Ok(Observed::Up(facts)) => Asked::On(facts.timeline),
                Ok(Observed::Stopped | Observed::Busy { .. }) | Err(_) => Asked::Unknown,
            };
        }
        // Commits of one that was primary before wait for whom they waited for, until the record says otherwise (D1).
        let waits = work.again || postgres.synchronous == Synchronous::Strict;
        loop {
            let error = match server.cluster.promote(LIMIT).await {
                Ok(promoted) => return Ok(format!("promoted, on timeline {}", promoted.timeline)),
                Err(error) => error,
            };
            match error.trouble {
                Why::NoWrites(_) if waits => {
                    return Ok(
                        "promoted; it takes writes as soon as its standby follows".to_owned()
                    );
                }
                // It applies what it has.
                Why::Limit(_) if !errand.time_left().is_zero() => {}
                _ => return Err(failed(error)),
            }
        }
    }
}
