//! The engine on a disk that fails: at every single operation, once or for good.
//!
//! Real disks are tried from outside (`tests/store`); what they do not do on demand is done here:
//! an fsync that fails, a machine that loses power with half of its writes on the disk.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;
use uuid::Uuid;

use super::engine::Engine;
use super::medium::Medium;
use super::state::{Staged, State};
use crate::store::{CommitError, Error, Incarnation, Key, Outcome, Prefix, Revision, Transaction};

/// Something that was asked of the disk and is not on it yet.
#[derive(Debug, Clone)]
enum Unsynced {
    Write(u64, Vec<u8>),
    Resize(u64),
}

impl Unsynced {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let start = usize::try_from(*offset).unwrap();
                if image.len() < start + data.len() {
                    image.resize(start + data.len(), 0);
                }
                image[start..start + data.len()].copy_from_slice(data);
            }
            Self::Resize(length) => image.resize(usize::try_from(*length).unwrap(), 0),
        }
    }
}

#[derive(Debug, Default)]
struct Disk {
    /// What reads see: the page cache.
    cached: Vec<u8>,
    /// What is there after a power cut.
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
    /// Operations that change something, so far.
    operations: usize,
    /// The operations that fail.
    fails: Fails,
    sync_failed: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Fails {
    #[default]
    Never,
    /// That one alone.
    Once(usize),
    /// That one and all after it.
    From(usize),
}

/// A disk in memory that fails on demand.
#[derive(Debug, Clone, Default)]
struct FaultyDisk(Arc<Mutex<Disk>>);

impl FaultyDisk {
    fn with_content(image: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.0.lock().unwrap().cached.clone_from(&image);
        disk.0.lock().unwrap().durable = image;
        disk
    }

    fn fail(&self, fails: Fails) {
        self.0.lock().unwrap().fails = fails;
    }

    fn operations(&self) -> usize {
        self.0.lock().unwrap().operations
    }

    /// What the disk may hold after a power cut: all that was synced, and of the rest whatever
    /// `survives` picks.
    fn after_power_cut(&self, survives: impl Fn(usize) -> bool) -> Vec<u8> {
        let disk = self.0.lock().unwrap();
        let mut image = disk.durable.clone();
        for (number, change) in disk.unsynced.iter().enumerate() {
            if survives(number) {
                change.apply(&mut image);
            }
        }
        image
    }

    fn change(&self, change: Unsynced) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.operation()?;
        change.apply(&mut disk.cached);
        disk.unsynced.push(change);
        Ok(())
    }
}

impl Disk {
    fn operation(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        let fails = match self.fails {
            Fails::Never => false,
            Fails::Once(at) => number == at,
            Fails::From(at) => number >= at,
        };
        if fails {
            return Err(io::Error::other("the disk failed"));
        }
        Ok(())
    }
}

impl StorageBackend for FaultyDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let found = disk.cached.get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Unsynced::Resize(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        if let Err(error) = disk.operation() {
            // As Linux does: what could not be written counts as clean from now on.
            disk.unsynced.clear();
            disk.sync_failed = true;
            return Err(error);
        }
        let unsynced = std::mem::take(&mut disk.unsynced);
        for change in unsynced {
            change.apply(&mut disk.durable);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Unsynced::Write(offset, data.to_vec()))
    }
}

impl Medium for FaultyDisk {
    fn distrust_cache(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        if std::mem::take(&mut disk.sync_failed) {
            disk.cached = disk.durable.clone();
        }
        Ok(())
    }
}

/// Keys of one transaction; all get the same number.
const KEYS: u64 = 6;

/// An engine with the state that its answers make.
struct Bench {
    disk: FaultyDisk,
    engine: Engine<FaultyDisk>,
    state: State,
}

impl Bench {
    fn new() -> Self {
        let disk = FaultyDisk::default();
        let incarnation = Incarnation(Uuid::from_u128(7));
        let (engine, state) = Engine::create(disk.clone(), path(), incarnation).unwrap();
        Self {
            disk,
            engine,
            state,
        }
    }

    fn on(disk: FaultyDisk) -> Self {
        let (engine, state) = Engine::open(disk.clone(), path()).unwrap();
        Self {
            disk,
            engine,
            state,
        }
    }

    /// What the writer thread does with one transaction.
    fn put(&mut self, number: u64) -> Result<(), CommitError> {
        if let Some(staged) = self.engine.ready().map_err(CommitError::NotCommitted)? {
            self.state.apply(staged);
        }
        // Growing values, so that the file grows and pages move.
        let value = format!("{number} ").repeat(usize::try_from(number * 40).unwrap());
        let transaction = (0..KEYS).fold(Transaction::new(), |transaction, key| {
            transaction.put(&at(key), value.clone().into_bytes())
        });
        let mut staged = Staged::new(&self.state);
        let outcome = staged.stage(&self.state, transaction);
        assert!(matches!(outcome, Outcome::Committed { .. }));
        self.state.apply(self.engine.commit(staged)?);
        Ok(())
    }

    /// The number that all keys have, 0 if there are none.
    fn number(&self) -> u64 {
        let all = self.state.snapshot(&Prefix::root()).entries;
        let number = |value: &[u8]| {
            let text = std::str::from_utf8(value).unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        };
        let numbers: Vec<u64> = all.iter().map(|entry| number(&entry.value)).collect();
        assert!(numbers.is_empty() || numbers.len() as u64 == KEYS);
        assert!(
            numbers.windows(2).all(|two| two[0] == two[1]),
            "half: {numbers:?}"
        );
        numbers.first().copied().unwrap_or(0)
    }
}

fn path() -> &'static Path {
    Path::new("faulty")
}

fn at(key: u64) -> Key {
    Key::new("/k").unwrap().indexed(key).unwrap()
}

/// Commits of each run.
const COMMITS: u64 = 6;

/// The operations that the disk does for the commits, when nothing fails.
fn operations() -> std::ops::Range<usize> {
    let mut bench = Bench::new();
    let before = bench.disk.operations();
    (1..=COMMITS).for_each(|number| bench.put(number).unwrap());
    let after = bench.disk.operations();
    assert!(after - before > 30, "too few operations to be worth a test");
    before..after
}

#[test]
fn a_power_cut_at_any_operation_keeps_what_was_acknowledged_and_nothing_half() {
    let survivors: [fn(usize) -> bool; 4] = [|_| false, |_| true, |n| n % 2 == 0, |n| n % 3 != 0];
    for cut in operations() {
        let mut bench = Bench::new();
        bench.disk.fail(Fails::From(cut));
        let acknowledged = (1..=COMMITS)
            .take_while(|number| bench.put(*number).is_ok())
            .last()
            .unwrap_or(0);
        assert!(bench.disk.operations() > cut, "the cut was not reached");
        for survives in survivors {
            let image = bench.disk.after_power_cut(survives);
            let found = Bench::on(FaultyDisk::with_content(image));
            let number = found.number();
            assert!(
                number == acknowledged || number == acknowledged + 1,
                "cut at {cut}: {acknowledged} acknowledged, {number} found"
            );
            assert_eq!(found.state.revision(), Revision(number));
        }
    }
}

#[test]
fn an_error_at_any_operation_is_answered_honestly_and_gone_at_the_next_commit() {
    let mut answers = [0; 3];
    for failing in operations() {
        let mut bench = Bench::new();
        bench.disk.fail(Fails::Once(failing));
        let mut last = 0;
        for number in 1..=COMMITS {
            match bench.put(number) {
                Ok(()) => {
                    last = number;
                    answers[0] += 1;
                    // On the disk itself, not only in its cache.
                    let image = bench.disk.after_power_cut(|_| false);
                    let found = Bench::on(FaultyDisk::with_content(image)).number();
                    assert_eq!(found, last, "failing at {failing}");
                }
                Err(CommitError::NotCommitted(error)) => {
                    assert!(matches!(error, Error::Io { .. }), "{error:?}");
                    answers[1] += 1;
                }
                Err(CommitError::Unknown(error)) => panic!("opened again, and unknown: {error:?}"),
            }
            assert_eq!(bench.number(), last, "failing at {failing}");
        }
        assert!(
            last == COMMITS || last == COMMITS - 1,
            "failing at {failing}"
        );
        let Bench { disk, engine, .. } = bench;
        drop(engine);
        assert_eq!(Bench::on(disk).number(), last, "failing at {failing}");
    }
    assert!(
        answers[1] > 20,
        "the failing operations were not reached: {answers:?}"
    );
}

#[test]
fn a_commit_is_unknown_while_the_disk_cannot_be_read_back_and_known_after() {
    let mut unknowns = 0;
    for failing in operations() {
        let mut bench = Bench::new();
        bench.disk.fail(Fails::From(failing));
        let mut last = 0;
        let mut number = 0;
        let unknown = loop {
            number += 1;
            if number > COMMITS {
                break false;
            }
            match bench.put(number) {
                Ok(()) => last = number,
                Err(CommitError::NotCommitted(_)) => break false,
                Err(CommitError::Unknown(_)) => break true,
            }
        };
        assert_eq!(bench.number(), last, "reads go on");
        // Refused without being tried.
        let refused = bench.put(100);
        assert!(
            matches!(refused, Err(CommitError::NotCommitted(_))),
            "{refused:?}"
        );
        bench.disk.fail(Fails::Never);
        if let Some(staged) = bench.engine.ready().unwrap() {
            assert!(unknown, "a commit that was not committed appeared");
            bench.state.apply(staged);
            last = number;
        }
        unknowns += u32::from(unknown);
        assert_eq!(bench.number(), last, "failing at {failing}");
        bench.put(50).unwrap();
        let Bench { disk, engine, .. } = bench;
        drop(engine);
        assert_eq!(Bench::on(disk).number(), 50, "failing at {failing}");
    }
    assert!(unknowns > 20, "only {unknowns} commits were in doubt");
}

#[test]
fn a_file_that_somebody_else_wrote_is_damaged_not_adopted() {
    let mut bench = Bench::new();
    bench.put(1).unwrap();
    // The disk fails, and comes back with an older content.
    let older = bench.disk.after_power_cut(|_| true);
    bench.put(2).unwrap();
    let next = bench.disk.operations();
    bench.disk.fail(Fails::Once(next));
    {
        let mut disk = bench.disk.0.lock().unwrap();
        disk.cached.clone_from(&older);
        disk.durable = older;
    }
    let error = bench.put(3).unwrap_err();
    assert!(matches!(
        error,
        CommitError::Unknown(_) | CommitError::NotCommitted(_)
    ));
    let error = bench.put(4).unwrap_err();
    assert!(matches!(error.reason(), Error::Damaged { .. }), "{error:?}");
    assert_eq!(bench.number(), 2, "reads show the last good state");
}
