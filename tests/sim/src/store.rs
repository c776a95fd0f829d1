//! The store: what is durable, and nothing else.
//!
//! A map, as the embedded store is. What lies in it is read back the way in which the coordinator program reads it, so
//! that a restart in the simulator takes the same path through bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use interlock_engine::coordinator::{
    ACTIVITY, Applied, AppliedSpec, EVENTS, FORGOTTEN, Head, LET_GO, Loaded, LoadedOperation,
    OPERATIONS, OUTRUN, SPECS, Told, UNHEARD, VERIFIED, Write,
};
use interlock_engine::operation::{Entry, Operation};
use interlock_model::ids::OperationId;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Digest, SealedPlan};
use interlock_model::spec::Spec;
use serde_json::from_slice;

/// Everything that survives.
#[derive(Debug, Default, Clone)]
pub(crate) struct Store {
    map: BTreeMap<String, Vec<u8>>,
    /// Decoded as they are written: the invariants ask for them at every message.
    journals: BTreeMap<OperationId, BTreeMap<String, Vec<Entry>>>,
    plans: BTreeMap<OperationId, Arc<SealedPlan>>,
    under_way: BTreeSet<OperationId>,
    spec: Option<Arc<Spec>>,
}

impl Store {
    /// A store for a cluster whose spec is parsed once and for all.
    pub(crate) fn new(spec: Arc<Spec>) -> Self {
        Self {
            spec: Some(spec),
            ..Self::default()
        }
    }

    pub(crate) fn apply(&mut self, writes: &[Write]) {
        for write in writes {
            match &write.value {
                Some(value) => self.map.insert(write.key.clone(), value.clone()),
                None => self.map.remove(&write.key),
            };
            let Some(id) = operation_of(&write.key) else {
                continue;
            };
            if write.key.contains("/journal/") {
                let entries = write.value.as_deref().map_or_else(Vec::new, read);
                self.journals
                    .entry(id)
                    .or_default()
                    .insert(write.key.clone(), entries);
            } else if write.key.contains("/plan/") {
                self.plans.remove(&id);
            } else if let Some(head) = write.value.as_deref().map(read::<Head>) {
                if head.state.is_over() {
                    self.under_way.remove(&id);
                } else {
                    self.under_way.insert(id);
                }
            }
        }
    }

    /// Everything below a prefix, as the driver's `snapshot` gives it.
    fn below<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl DoubleEndedIterator<Item = (&'a str, &'a [u8])> {
        self.map
            .range(format!("{prefix}/")..format!("{prefix}0"))
            .map(|(key, value)| (key.as_str(), value.as_slice()))
    }

    /// Which side was active, from an earlier life of the cluster.
    pub(crate) fn remember(&mut self, service: &ServiceName, active: &NodeName) {
        let value = serde_json::to_vec(active).expect("a name is text");
        self.map.insert(format!("{ACTIVITY}/{service}"), value);
    }

    /// Forgets everything below a prefix. No store does that; a mutant is what it takes.
    pub(crate) fn forget(&mut self, prefix: &str) {
        self.map
            .retain(|key, _| !key.starts_with(&format!("{prefix}/")));
    }

    /// Puts another plan in the place of an operation's own. No store does that either.
    pub(crate) fn replace_plan(&mut self, id: OperationId, bytes: &[u8]) {
        self.forget(&format!("{OPERATIONS}/{:012}/plan", id.0));
        self.apply(&[Write {
            key: interlock_engine::coordinator::plan_key(id, 0),
            value: Some(bytes.to_vec()),
        }]);
    }

    /// All operations ever started.
    pub(crate) fn heads(&self) -> Vec<Head> {
        self.below(OPERATIONS)
            .filter(|(key, _)| key.ends_with("/head"))
            .map(|(_, value)| read(value))
            .collect()
    }

    /// The operations that are not over.
    pub(crate) fn heads_under_way(&self) -> impl Iterator<Item = OperationId> {
        self.under_way.iter().copied()
    }

    /// The stored bytes of a plan.
    fn plan_bytes(&self, id: OperationId) -> Vec<u8> {
        let prefix = format!("{OPERATIONS}/{:012}/plan", id.0);
        self.below(&prefix)
            .flat_map(|(_, value)| value.to_vec())
            .collect()
    }

    /// The digest of a plan as it is stored now.
    pub(crate) fn digest(&self, id: OperationId) -> Digest {
        Digest::of(&self.plan_bytes(id))
    }

    /// The plan of an operation.
    pub(crate) fn plan(&mut self, id: OperationId) -> Option<Arc<SealedPlan>> {
        if let Some(plan) = self.plans.get(&id) {
            return Some(Arc::clone(plan));
        }
        let plan = Arc::new(SealedPlan::open(self.plan_bytes(id)).ok()?);
        self.plans.insert(id, Arc::clone(&plan));
        Some(plan)
    }

    /// The journal of an operation.
    pub(crate) fn journal(&self, id: OperationId) -> impl DoubleEndedIterator<Item = &Entry> {
        self.journals
            .get(&id)
            .into_iter()
            .flat_map(|batches| batches.values().flatten())
    }

    /// The operation that the durable journal makes.
    pub(crate) fn operation(&mut self, id: OperationId) -> Option<Operation> {
        let plan = self.plan(id)?;
        Operation::replay(id, plan, self.journal(id).cloned()).ok()
    }

    /// Everything that a coordinator reads when it starts (the program: `coordinator/src/driver/load.rs`).
    pub(crate) fn load(&self) -> Loaded {
        let heads = self.heads();
        Loaded {
            applied: self.applied(),
            unreadable: None,
            activity: self.named::<ServiceName, NodeName>(ACTIVITY),
            forgotten: self.named(FORGOTTEN),
            acts: BTreeMap::new(),
            maintenance: Vec::new(),
            counted: BTreeMap::new(),
            blocks: Vec::new(),
            strays: self.below(LET_GO).map(|(_, it)| read(it)).collect(),
            newcomers: self.named(UNHEARD),
            verified: self.named(VERIFIED),
            operations: heads
                .iter()
                .filter(|head| !head.state.is_over())
                .map(|head| self.interrupted(head.clone()))
                .collect(),
            last_operation: heads
                .iter()
                .map(|head| head.id)
                .chain(self.named::<NodeName, OperationId>(OUTRUN).into_values())
                .max()
                .unwrap_or_default(),
            last_event: self
                .below(EVENTS)
                .next_back()
                .and_then(|(key, _)| name(key).parse().ok())
                .unwrap_or(0),
            told: self.told(),
        }
    }

    fn told(&self) -> Told {
        let mut told = Told::default();
        for (_, event) in self.below(EVENTS) {
            told.note(&read(event));
        }
        told
    }

    /// What does not belong together in the store, if anything.
    pub(crate) fn torn(&self) -> Option<String> {
        let heads = self.heads();
        for key in self.below(OPERATIONS).map(|(key, _)| key) {
            if let Some(id) = operation_of(key)
                && !heads.iter().any(|head| head.id == id)
            {
                return Some(format!("there is {key}, and no head of {id}"));
            }
        }
        for head in heads {
            let prefix = format!("{OPERATIONS}/{:012}/journal", head.id.0);
            let numbers: Vec<usize> = self
                .below(&prefix)
                .filter_map(|(key, _)| name(key).parse().ok())
                .collect();
            if numbers
                .iter()
                .enumerate()
                .any(|(at, number)| at + 1 != *number)
            {
                return Some(format!(
                    "the journal of {} has the batches {numbers:?}",
                    head.id
                ));
            }
            let Ok(plan) = SealedPlan::open(self.plan_bytes(head.id)) else {
                return Some(format!("the plan of {} cannot be read", head.id));
            };
            let entries = self.journal(head.id).cloned();
            match Operation::replay(head.id, Arc::new(plan), entries) {
                Ok(operation) if operation.state() == head.state => {}
                Ok(operation) => {
                    return Some(format!(
                        "{} is {} by its head and {} by its journal",
                        head.id,
                        head.state,
                        operation.state()
                    ));
                }
                Err(corrupt) => return Some(format!("the journal of {}: {corrupt}", head.id)),
            }
        }
        None
    }

    fn applied(&self) -> Option<Applied> {
        let (_, value) = self.below(SPECS).next_back()?;
        let record: AppliedSpec = read(value);
        Some(Applied {
            breaks: Vec::new(),
            record,
            spec: self.spec.clone()?,
        })
    }

    fn named<K, V>(&self, prefix: &str) -> BTreeMap<K, V>
    where
        K: std::str::FromStr + Ord,
        V: serde::de::DeserializeOwned,
    {
        self.below(prefix)
            .filter_map(|(key, value)| Some((name(key).parse().ok()?, read(value))))
            .collect()
    }

    fn interrupted(&self, head: Head) -> LoadedOperation {
        let prefix = format!("{OPERATIONS}/{:012}/journal", head.id.0);
        let mut entries = Vec::new();
        let mut batches = 0;
        for (key, value) in self.below(&prefix) {
            entries.extend(read::<Vec<Entry>>(value));
            batches = name(key).parse().unwrap_or(batches + 1);
        }
        let plan = SealedPlan::open(self.plan_bytes(head.id))
            .expect("what was stored as a plan is read as one");
        LoadedOperation {
            head,
            plan,
            entries,
            batches,
        }
    }
}

fn name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or_default()
}

fn read<T: serde::de::DeserializeOwned>(value: &[u8]) -> T {
    from_slice(value).expect("the engine reads what the engine wrote")
}

/// The operation that a key belongs to.
pub(crate) fn operation_of(key: &str) -> Option<OperationId> {
    let number = key.strip_prefix(OPERATIONS)?.split('/').nth(1)?;
    number.parse().ok().map(OperationId)
}
