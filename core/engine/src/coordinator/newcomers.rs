//! Names by which nobody has been heard since a spec brought them.
//!
//! A spec that leaves a node out lets go of what runs there ([`super::let_go`]), and where nobody has told, of what may run. But
//! a name that a spec brought, by a slip or for a machine that came to nothing, and that the next one leaves out or takes back,
//! has nothing to let go: what Interlock starts, it starts by an agent of that name, and there was none. Nobody could ever end
//! such a record either: the name has no agent, and with the spec it has lost its power source.
//!
//! That nobody was heard *by this process* says nothing (invariant I5), so it is kept in the store: written with the spec that
//! brings the name, deleted before the first word of an agent of that name leads to anything.

use interlock_model::ids::Generation;
use interlock_model::names::NodeName;
use interlock_model::spec::Spec;

use super::Coordinator;
use super::records::{Write, unheard_key};

impl Coordinator {
    /// Has nobody been heard by this name since a spec brought it?
    pub(super) fn is_newcomer(&self, node: &NodeName) -> bool {
        self.newcomers.contains_key(node)
    }

    /// A spec is about to be applied: which names does it bring? One of which something may run still, or that was heard
    /// meanwhile, is none that nobody knows; nor is any where the spec before cannot be read. The first spec of a store brings none:
    /// its agents may have been those of a store that was lost.
    pub(super) fn brings(&self, spec: &Spec) -> Vec<NodeName> {
        let Some(old) = self.applied.as_ref().map(|applied| &applied.spec) else {
            return Vec::new();
        };
        let names = spec.nodes.keys();
        let new = names.filter(|name| !old.nodes.contains_key(*name));
        let known = |name: &NodeName| {
            let heard = self.view.node(name).is_some_and(|seen| seen.boot.is_some());
            heard || self.view.connected(name) || self.strays.is_about(name)
        };
        new.filter(|name| !known(name)).cloned().collect()
    }

    /// It is applied: the names that it brings are kept, and those that it has no more are not.
    pub(super) fn keep_newcomers(
        &mut self,
        spec: &Spec,
        brought: Vec<NodeName>,
        generation: Generation,
    ) {
        let left = self
            .newcomers
            .extract_if(.., |name, _| !spec.nodes.contains_key(name));
        let deletes = left.map(|(name, _)| Write::delete(unheard_key(&name)));
        self.output.writes.extend(deletes);
        for name in brought {
            let write = Write::json(unheard_key(&name), &generation);
            self.output.writes.push(write);
            self.newcomers.insert(name, generation);
        }
    }

    /// An agent of this name is here.
    pub(super) fn has_come(&mut self, node: &NodeName) {
        if self.newcomers.remove(node).is_some() {
            self.output.writes.push(Write::delete(unheard_key(node)));
        }
    }
}
