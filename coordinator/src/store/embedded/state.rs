//! The working set: all entries in memory, and the backlog for watches.
//!
//! The file is the truth that survives; this is the copy that is read. Reads therefore never wait
//! for a disk, and go on when the disk is full or broken. The price is memory of the size of the
//! live data, which compaction of old operations and audit bounds.
//!
//! Only the writer changes a [`State`], and only after the change is durable. A [`Staged`] is the
//! view of the writer that is one group of transactions ahead of it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use super::super::{
    Change, Conflict, Entry, Key, Outcome, Page, PageRequest, Prefix, Revision, Snapshot,
    Transaction, WatchEvent, Write,
};

/// Most revisions that the backlog keeps. A watcher that lags further is told so.
const BACKLOG_REVISIONS: usize = 4096;

/// Most bytes of keys and values that the backlog keeps; large values would make 4,096 revisions
/// hold gigabytes. Always at least one revision is kept, however large.
const BACKLOG_BYTES: usize = 32 * 1024 * 1024;

/// One committed transaction that changed something.
#[derive(Debug, Clone)]
struct Commit {
    revision: Revision,
    changes: Vec<Change>,
}

impl Commit {
    fn bytes(&self) -> usize {
        let bytes = |change: &Change| match change {
            Change::Put(entry) => entry.key.as_str().len() + entry.value.len(),
            Change::Deleted(key) => key.as_str().len(),
        };
        self.changes.iter().map(bytes).sum()
    }
}

/// What is committed and durable.
#[derive(Debug)]
pub(crate) struct State {
    revision: Revision,
    entries: BTreeMap<Key, Entry>,
    /// Consecutive revisions; the last one is `revision`, unless it is empty.
    backlog: VecDeque<Commit>,
    backlog_bytes: usize,
}

impl State {
    /// The state as loaded from a file; nothing is known of how it came about.
    pub(crate) fn new(revision: Revision, entries: BTreeMap<Key, Entry>) -> Self {
        Self {
            revision,
            entries,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Entry> {
        self.entries.get(key).cloned()
    }

    pub(crate) fn page(&self, prefix: &Prefix, request: &PageRequest<'_>) -> Page {
        let limit = request.clamped();
        let after = request.after.map_or("", Key::as_str);
        // A key before the prefix is taken as its beginning: no key equals the prefix itself.
        let mut rest = self.below(prefix, after.max(prefix.as_str()));
        let entries: Vec<Entry> = rest.by_ref().take(limit).cloned().collect();
        Page {
            revision: self.revision,
            entries,
            more: rest.next().is_some(),
        }
    }

    pub(crate) fn snapshot(&self, prefix: &Prefix) -> Snapshot {
        Snapshot {
            revision: self.revision,
            entries: self.below(prefix, prefix.as_str()).cloned().collect(),
        }
    }

    /// The entries below `prefix` that sort after `start`.
    fn below<'a>(
        &'a self,
        prefix: &'a Prefix,
        start: &str,
    ) -> impl Iterator<Item = &'a Entry> + use<'a> {
        self.entries
            .range::<str, _>((Bound::Excluded(start), Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(|entry| prefix.contains(&entry.key))
    }

    /// Makes a durable group visible to reads and watches.
    pub(crate) fn apply(&mut self, staged: Staged) {
        self.revision = staged.revision;
        for (key, entry) in staged.overlay {
            match entry {
                Some(entry) => self.entries.insert(key, entry),
                None => self.entries.remove(&key),
            };
        }
        for commit in staged.commits {
            self.backlog_bytes += commit.bytes();
            self.backlog.push_back(commit);
        }
        while self.backlog.len() > BACKLOG_REVISIONS
            || (self.backlog.len() > 1 && self.backlog_bytes > BACKLOG_BYTES)
        {
            if let Some(forgotten) = self.backlog.pop_front() {
                self.backlog_bytes -= forgotten.bytes();
            }
        }
    }

    /// The next event of a watch that has seen everything before `from`, or, if there is none yet,
    /// the revision from which to look next time.
    pub(crate) fn event(&self, prefix: &Prefix, from: Revision) -> Result<WatchEvent, Revision> {
        if from > self.revision {
            return Err(from);
        }
        let oldest = self
            .backlog
            .front()
            .map_or(self.revision.next(), |commit| commit.revision);
        if from < oldest {
            return Ok(WatchEvent::Compacted { oldest });
        }
        // Revisions of the backlog are consecutive, so the distance is the position.
        let position = usize::try_from(from.0 - oldest.0).unwrap_or(usize::MAX);
        for commit in self.backlog.iter().skip(position) {
            let below = |change: &&Change| prefix.contains(change.key());
            let changes: Vec<Change> = commit.changes.iter().filter(below).cloned().collect();
            if !changes.is_empty() {
                return Ok(WatchEvent::Changed {
                    revision: commit.revision,
                    changes,
                });
            }
        }
        Err(self.revision.next())
    }
}

/// Transactions that were decided but are not durable yet.
#[derive(Debug)]
pub(crate) struct Staged {
    revision: Revision,
    /// Every key that changed, with its last content.
    overlay: BTreeMap<Key, Option<Entry>>,
    commits: Vec<Commit>,
}

impl Staged {
    pub(crate) fn new(base: &State) -> Self {
        Self {
            revision: base.revision,
            overlay: BTreeMap::new(),
            commits: Vec::new(),
        }
    }

    /// Whether anything is to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// The revision after the group.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// The keys to write, with what they will hold.
    pub(crate) fn writes(&self) -> impl Iterator<Item = (&Key, Option<&Entry>)> {
        self.overlay
            .iter()
            .map(|(key, entry)| (key, entry.as_ref()))
    }

    /// Decides one transaction as if all staged ones were committed, and stages its writes.
    pub(crate) fn stage(&mut self, base: &State, transaction: Transaction) -> Outcome {
        for (index, condition) in transaction.conditions.into_iter().enumerate() {
            let current = self.current(base, condition.key());
            if !condition.holds(current) {
                let current = current.cloned();
                return Outcome::Conflict(Conflict {
                    index,
                    condition,
                    current,
                });
            }
        }
        let revision = self.revision.next();
        let mut changes = Vec::new();
        for write in transaction.writes {
            match write {
                Write::Put(key, value) => {
                    let created = self.current(base, &key).map_or(revision, |e| e.created);
                    changes.push(Change::Put(Entry {
                        key,
                        value,
                        created,
                        modified: revision,
                    }));
                }
                Write::Delete(key) => {
                    if self.current(base, &key).is_some() {
                        changes.push(Change::Deleted(key));
                    }
                }
                Write::DeleteBelow(prefix) => {
                    changes.extend(self.keys_below(base, &prefix).map(Change::Deleted));
                }
            }
        }
        if changes.is_empty() {
            return Outcome::Committed {
                revision: self.revision,
            };
        }
        changes.sort_by(|a, b| a.key().cmp(b.key()));
        // Two prefixes of one transaction may overlap.
        changes.dedup_by(|a, b| a.key() == b.key());
        for change in &changes {
            let entry = match change {
                Change::Put(entry) => Some(entry.clone()),
                Change::Deleted(_) => None,
            };
            self.overlay.insert(change.key().clone(), entry);
        }
        self.revision = revision;
        self.commits.push(Commit { revision, changes });
        Outcome::Committed { revision }
    }

    fn current<'a>(&'a self, base: &'a State, key: &Key) -> Option<&'a Entry> {
        match self.overlay.get(key) {
            Some(staged) => staged.as_ref(),
            None => base.entries.get(key),
        }
    }

    fn keys_below(&self, base: &State, prefix: &Prefix) -> impl Iterator<Item = Key> + use<> {
        let committed = base.below(prefix, prefix.as_str()).map(|e| e.key.clone());
        let staged = self
            .overlay
            .range::<str, _>((Bound::Excluded(prefix.as_str()), Bound::Unbounded))
            .take_while(|(key, _)| prefix.contains(key))
            .map(|(key, _)| key.clone());
        let keys: std::collections::BTreeSet<Key> = committed.chain(staged).collect();
        let present: Vec<Key> = keys
            .into_iter()
            .filter(|key| self.current(base, key).is_some())
            .collect();
        present.into_iter()
    }
}
