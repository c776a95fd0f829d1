//! An instance that may run, and that the spec has no more.
//!
//! It is one until its agent says that it is down, a verified power source says that its machine is off, its machine has
//! booted anew, or a spec has it again. Silence ends nothing (invariant I5).
//!
//! A boot ends nothing of what comes up with its machine (`boot: autostart`): systemd starts its unit, and an agent that
//! does not know yet what the spec has no more starts what it supervises. So it is one in the next boot too, and while
//! the machine is off it is only not running.

use std::collections::BTreeMap;

use interlock_model::ids::{BootId, Generation};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::InstanceState;
use serde::{Deserialize, Serialize};

use crate::view::View;

/// An instance that ran, or may have run, when it was let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stray {
    pub(super) node: NodeName,
    pub(super) service: ServiceName,
    pub(super) state: InstanceState,
    /// Has its agent said so? It was not heard otherwise.
    pub(super) heard: bool,
    /// The boot in which it may run; none while no agent has said in which one it was let go, or a later one.
    pub(super) boot: Option<BootId>,
    pub(super) generation: Generation,
    /// It comes up with its machine.
    #[serde(default)]
    pub(super) autostart: bool,
    /// Its machine has booted since what is known of it was seen.
    #[serde(default)]
    pub(super) booted: bool,
}

impl Stray {
    /// What is known of it, for people.
    pub(super) fn told(&self) -> String {
        let (service, state, generation) = (&self.service, self.state, self.generation);
        if self.booted {
            return format!(
                "{service} may run: it comes up with its machine, which has booted since generation {generation} let it go \
                 (to end this, have it in a spec again, and stop it before a spec leaves it out)"
            );
        }
        if self.heard {
            return format!("{service} was {state}, and generation {generation} does not have it");
        }
        format!(
            "{service} may run: its agent did not tell of it when generation {generation} let it go, and has not since ({})",
            last_seen(Some(state).filter(|state| *state != InstanceState::Unknown))
        )
    }

    /// The same in the boot that its machine is in, as its agent says; none if it has ended with another one.
    pub(super) fn in_boot(&self, boot: &BootId) -> Option<Self> {
        let mut stray = self.clone();
        match &self.boot {
            Some(then) if then == boot => {}
            // Nobody knows in which boot it was let go. If it was not this one it has ended; the next one ends it for certain.
            None => stray.boot = Some(boot.clone()),
            Some(_) if self.autostart => {
                stray.boot = Some(boot.clone());
                stray.booted = true;
            }
            Some(_) => return None,
        }
        Some(stray)
    }

    fn may_run(&self, view: &View) -> bool {
        let is_off = view.is_off(&self.node) && !view.connected(&self.node);
        let boot = boot_of(view, &self.node);
        !is_off && boot.is_none_or(|boot| self.in_boot(boot).is_some())
    }
}

/// What ran, or may have run, when a spec was applied that does not have it any more.
#[derive(Debug, Clone, Default)]
pub struct Strays(pub(super) BTreeMap<(NodeName, ServiceName), Stray>);

impl Strays {
    /// Those that may run, as far as is known now: what plans ask a person about, and what the status tells.
    pub(super) fn running(&self, view: &View) -> impl Iterator<Item = &Stray> {
        self.0.values().filter(|stray| stray.may_run(view))
    }

    /// Is anything of this node among them?
    pub(super) fn is_about(&self, node: &NodeName) -> bool {
        self.0.keys().any(|(of, _)| of == node)
    }

    /// What may run on a node still, and what is known of it. A machine that is off, or has booted anew since, runs nothing
    /// of it; silence says nothing (invariant I5).
    #[must_use]
    pub fn may_run_on(&self, node: &NodeName, view: &View) -> BTreeMap<ServiceName, String> {
        let here = self.running(view).filter(|stray| stray.node == *node);
        here.map(|stray| (stray.service.clone(), stray.told()))
            .collect()
    }
}

impl FromIterator<Stray> for Strays {
    fn from_iter<I: IntoIterator<Item = Stray>>(strays: I) -> Self {
        let keyed = |stray: Stray| ((stray.node.clone(), stray.service.clone()), stray);
        Self(strays.into_iter().map(keyed).collect())
    }
}

/// The boot that the machine of a node is in, as far as its agent has told. One that cannot tell vouches for none.
pub(super) fn boot_of<'a>(view: &'a View, node: &NodeName) -> Option<&'a BootId> {
    let boot = view.node(node)?.boot.as_ref()?;
    (!boot.0.is_empty()).then_some(boot)
}

/// What was seen of an instance last, for people.
pub(super) fn last_seen(last: Option<InstanceState>) -> String {
    last.map_or_else(
        || "nothing was heard of it since this coordinator began".to_owned(),
        |state| format!("last seen {state}"),
    )
}
