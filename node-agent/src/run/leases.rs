//! The roles of this node, as attempts and the board meet them.

use std::collections::BTreeMap;

use interlock_model::names::ServiceName;
use interlock_model::observation::Side;
use tokio::sync::watch;

use super::errand::{Errand, Trouble};
use super::instances::Instances;
use super::seen::time;
use super::usher::{Assigned, leased};
use crate::roles::{Roles, View};
use crate::session::{Assignment, Board};

/// What attempts do with roles. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Leases {
    pub(super) roles: Roles,
    /// What the usher follows.
    pub(super) assigned: watch::Sender<Assigned>,
}

impl Leases {
    /// Keeps the roles of these instances from now on.
    pub(super) fn assign(&self, assignment: &Assignment) {
        let now = leased(assignment);
        self.assigned.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
    }

    /// Waits until this node's own lease has made the instance primary. Gives no right: who decides that is who keeps the
    /// role, and an attempt only sees it.
    pub(super) async fn is_promoted(
        &self,
        service: &ServiceName,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let _awaited = self.roles.awaited(service);
        let mut views = self.roles.views();
        let promoted = views.wait_for(|views| views.get(service).is_some_and(View::is_primary));
        tokio::select! {
            views = promoted => match views.ok().and_then(|views| views.get(service).cloned()) {
                Some(view) => Ok(evidence(&view)),
                None => Err(Trouble::Failed("this agent is ending".to_owned())),
            },
            halt = errand.halted() => Err(Trouble::Failed(format!("{halt}; {}", self.why_not(service)))),
        }
    }

    fn why_not(&self, service: &ServiceName) -> String {
        let Some(view) = self.roles.view(service) else {
            return "no role of it is kept on this node: is it assigned here, with `failover`?"
                .to_owned();
        };
        let (side, epoch) = (view.side, view.epoch);
        match view.detail.as_str() {
            "" => format!("it is {side} in {epoch}; no coordinator has told it to be primary"),
            detail => format!("it is {side} in {epoch}: {detail}"),
        }
    }

    /// Is its instance anything else than a standby?
    pub(super) fn holds_a_role(&self, service: &ServiceName) -> bool {
        self.roles
            .view(service)
            .is_some_and(|view| !view.is_standby())
    }

    /// How its role looks, as soon as this agent has found out what role it has.
    async fn seat_of(&self, service: &ServiceName, errand: &Errand<'_>) -> Result<View, Trouble> {
        let mut views = self.roles.views();
        let known = views.wait_for(|views| views.contains_key(service));
        tokio::select! {
            views = known => match views.ok().and_then(|views| views.get(service).cloned()) {
                Some(view) => Ok(view),
                None => Err(Trouble::Failed("this agent is ending".to_owned())),
            },
            halt = errand.halted() => Err(Trouble::Failed(format!(
                "{halt}; nothing was stopped, because it is not known what role it has: {}", self.why_not(service)
            ))),
        }
    }

    /// Has the role given back, in order, and waits until that is durable; none if there is none to give.
    pub(super) async fn give_back(
        &self,
        service: &ServiceName,
        leased: bool,
        errand: &Errand<'_>,
    ) -> Result<Option<String>, Trouble> {
        if !leased && self.roles.view(service).is_none() {
            return Ok(None);
        }
        // Also of a standby: it must not become anything else while it is stopped.
        self.roles.leave(service);
        let before = self.seat_of(service, errand).await?;
        if before.side != Side::Standby {
            errand.going_down(format!(
                "its role, {} of {}, is being given back",
                before.side, before.epoch
            ));
        }
        let mut views = self.roles.views();
        let back = views.wait_for(|views| views.get(service).is_none_or(View::is_standby));
        tokio::select! {
            _ = back => Ok((before.side != Side::Standby).then(|| format!("the role of {} is given back", before.epoch))),
            halt = errand.halted() => {
                let evidence = format!("{halt}; its role is not given back yet, {}", self.why_not(service));
                Err(Trouble::unknown(evidence, true))
            }
        }
    }

    /// Posts how roles look whenever that changes, for as long as there is anybody to change it.
    pub(super) async fn post(self, board: Board, instances: Instances) {
        let mut views = self.roles.views();
        let mut posted = BTreeMap::<ServiceName, View>::new();
        loop {
            let now = views.borrow_and_update().clone();
            for service in posted.keys().filter(|service| !now.contains_key(*service)) {
                board.post_role(service, None);
            }
            for (service, view) in &now {
                board.post_role(service, Some(view.observation()));
                let before = posted.get(service);
                if before.is_none_or(|before| before.down != view.down) {
                    instances.of(service).poke();
                }
            }
            posted = now;
            if views.changed().await.is_err() {
                return;
            }
        }
    }
}

/// `primary in epoch 3 since 2026-01-01T00:00:00Z`.
fn evidence(view: &View) -> String {
    let since = view.since.map(|since| format!(" since {}", time(since)));
    format!("primary in {}{}", view.epoch, since.unwrap_or_default())
}
