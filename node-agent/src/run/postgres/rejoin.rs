//! A server that does not run, or has diverged, becomes a standby.

use std::sync::Arc;

use interlock_model::lease::Epoch;
use interlock_model::observation::Loss;
use interlock_model::postgres::Rejoin;

use super::{CHANGE, Server};
use crate::postgres::{Divergence, Fork, Trouble as Why, Upstream};
use crate::run::charge::Charge;
use crate::run::errand::Errand;
use crate::run::managers::chain;

/// What has come of it.
#[derive(Debug)]
pub(super) enum Step {
    /// It is as it should be.
    Done,
    /// It is not yet time, and why.
    Wait(String),
}

/// Everything that takes, in a task of its own.
pub(super) struct Rejoining {
    pub(super) charge: Charge,
    pub(super) server: Arc<Server>,
    pub(super) policy: Rejoin,
    /// Whom it is to follow, if anybody holds the role, and in which epoch.
    pub(super) upstream: Option<Upstream>,
    pub(super) epoch: Epoch,
    /// It does not start before the upstream was asked.
    pub(super) patient: bool,
}

impl Rejoining {
    /// Starts it as a standby, of what it may follow; `runs` says that it runs as one now.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) async fn carry_out(self, runs: bool, errand: &Errand<'_>) -> Result<Step, String> {
        let cluster = &self.server.cluster;
        let Some(upstream) = self.upstream.clone() else {
            return self.start(None, errand).await;
        };
        let compared = cluster.divergence(&upstream, CHANGE).await;
        let leads = compared.as_ref().is_ok_and(|compared| compared.leads);
        match compared.map(|compared| compared.found) {
            Ok(Divergence::None) => self.start(Some(&upstream), errand).await,
            Ok(Divergence::Ahead { at, bytes }) => Ok(Step::Wait(format!(
                "it has {bytes} B that {} has not, which ends at {at} and may not be primary yet",
                upstream.node
            ))),
            Ok(Divergence::AnotherSystem { own, theirs }) => {
                self.charge.roles.diverged(&self.charge.service);
                Err(format!(
                    "its data is of another database cluster ({own}) than that of {} ({theirs}): put it aside, and clone it",
                    upstream.node
                ))
            }
            // What a standby has is nothing to go back to: it may never be primary.
            Ok(Divergence::Diverged(fork)) if !leads => Ok(Step::Wait(format!(
                "it has {} B from {} on that {} has not, which is no primary yet",
                fork.bytes(),
                fork.at,
                upstream.node
            ))),
            Ok(Divergence::Diverged(fork)) => {
                // Before anything is done about it: what comes next may fail, and the old data run again.
                self.charge.roles.diverged(&self.charge.service);
                if runs {
                    let stopped = self
                        .charge
                        .managers
                        .take_run_down(&self.server, errand)
                        .await;
                    stopped.map_err(|trouble| {
                        format!("it has diverged and cannot be stopped: {trouble}")
                    })?;
                }
                self.go_back(&upstream, fork, errand).await
            }
            Err(error) => match &error.trouble {
                // There is nothing to lose.
                Why::NoData(_) => self.copy(&upstream, errand).await,
                _ if error.wants_clone() && self.policy != Rejoin::Never => {
                    self.copy(&upstream, errand).await
                }
                _ if error.wants_clone() => Err(chain(&error)),
                _ if self.patient => Ok(Step::Wait(format!(
                    "it was primary, and {} does not say yet whether it may follow: {}",
                    upstream.node,
                    chain(&error)
                ))),
                // Nobody can tell now. A standby does no harm, and may be needed.
                _ => self.start(Some(&upstream), errand).await,
            },
        }
    }

    /// It has what the primary will never have.
    async fn go_back(
        &self,
        upstream: &Upstream,
        fork: Fork,
        errand: &Errand<'_>,
    ) -> Result<Step, String> {
        let bytes = fork.bytes();
        let text = format!(
            "{bytes} B of its log, from {} to {} on timeline {}, are not in that of {}",
            fork.at, fork.end, fork.timeline, upstream.node
        );
        if self.policy == Rejoin::Never {
            return Err(format!(
                "{text}: rewind or clone it by hand, or say so with `rejoin`"
            ));
        }
        let cluster = &self.server.cluster;
        let saved = cluster.save_aside(fork, errand.time_left()).await;
        let saved = saved
            .map_err(|error| format!("{text}, and they cannot be saved: {}", chain(&error)))?;
        let dir = saved.dir.display();
        tracing::warn!(service = %self.charge.service, bytes, %dir, missing = ?saved.missing, "{text}; they are saved");
        let what = match saved.missing.is_empty() {
            true => "they are",
            false => "what of them was there is",
        };
        let committed = match saved.transactions {
            Some(1) => ", with 1 committed transaction".to_owned(),
            Some(number) => format!(", with {number} committed transactions"),
            None => String::new(),
        };
        let loss = Loss {
            epoch: self.epoch,
            text: format!("{text}{committed}; {what} saved in {dir}"),
        };
        self.charge.roles.lost(&self.charge.service, loss);
        if self.policy == Rejoin::Rewind {
            match cluster.rewind(upstream, errand.time_left()).await {
                Ok(()) => {
                    tracing::warn!(service = %self.charge.service, upstream = %upstream.node, "rewound");
                    return self.start(Some(upstream), errand).await;
                }
                Err(error) if error.wants_clone() => {
                    tracing::warn!(service = %self.charge.service, "it cannot be rewound: {}", chain(&error));
                }
                Err(error) => {
                    return Err(format!("{text}; it cannot be rewound: {}", chain(&error)));
                }
            }
        }
        self.copy(upstream, errand).await
    }

    async fn copy(&self, upstream: &Upstream, errand: &Errand<'_>) -> Result<Step, String> {
        tracing::warn!(service = %self.charge.service, upstream = %upstream.node, "copying its data anew");
        let copied = self
            .server
            .cluster
            .clone_from(upstream, errand.time_left())
            .await;
        copied.map_err(|error| {
            format!(
                "it cannot be copied from {}: {}",
                upstream.node,
                chain(&error)
            )
        })?;
        self.start(Some(upstream), errand).await
    }

    async fn start(
        &self,
        upstream: Option<&Upstream>,
        errand: &Errand<'_>,
    ) -> Result<Step, String> {
        let followed = self.server.cluster.follow(upstream, CHANGE).await;
        followed.map_err(|error| chain(&error))?;
        self.server.known().upstream = upstream.cloned();
        let started = self
            .charge
            .managers
            .start_standby(&self.server, errand)
            .await;
        let said = started.map_err(|trouble| trouble.to_string())?;
        tracing::info!(service = %self.charge.service, "its server is a standby: {said}");
        Ok(Step::Done)
    }
}
