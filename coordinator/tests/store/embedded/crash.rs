//! A process that is killed keeps every commit that it acknowledged, and no half of one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use interlock_coordinator::store::{Key, Prefix, Revision, Store, Transaction};
use tempfile::TempDir;

use super::{child, child_path, create, open};
use crate::conformance::{commit, key};

/// Tasks of the child that commit at once, so that commits are grouped.
const TASKS: u64 = 4;

/// Keys of one transaction. All get the same number.
const KEYS: u64 = 5;

/// How many acknowledgements the parent waits for before each kill: at once, soon, and late, odd
/// numbers so that the kill falls between different commits of the tasks.
const KILL_AFTER: [usize; 20] = [
    1, 1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 97, 151, 211, 307, 401,
];

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    create(&path).await.unwrap().close().await;
    let mut acknowledged = Acknowledged::default();
    for kill_after in KILL_AFTER {
        run_and_kill(&path, kill_after, &mut acknowledged);
        let store = open(&path).await.unwrap();
        acknowledged.check(&store).await;
        store.close().await;
    }
}

/// What children said before they died.
#[derive(Debug, Default)]
struct Acknowledged {
    revision: Revision,
    numbers: BTreeMap<u64, u64>,
}

impl Acknowledged {
    fn note(&mut self, line: &str) {
        let words: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        let [task, number, revision] = words[..] else {
            panic!("{line}");
        };
        self.numbers.insert(task, number);
        self.revision = self.revision.max(Revision(revision));
    }

    async fn check(&self, store: &dyn Store) {
        let all = store.snapshot(&Prefix::root()).await.unwrap();
        assert!(all.revision >= self.revision, "lost a revision");
        for (task, acknowledged) in &self.numbers {
            let below = base(*task).below();
            let numbers: Vec<u64> = all
                .entries
                .iter()
                .filter(|entry| below.contains(&entry.key))
                .map(|entry| number(&entry.value))
                .collect();
            assert_eq!(numbers.len() as u64, KEYS);
            assert!(numbers[0] >= *acknowledged, "lost an acknowledged commit");
            assert!(
                numbers.iter().all(|n| *n == numbers[0]),
                "half a commit: {numbers:?}"
            );
        }
    }
}

/// Runs the child until it has acknowledged enough, and kills it in the middle of the next.
fn run_and_kill(path: &Path, kill_after: usize, acknowledged: &mut Acknowledged) {
    let test = "embedded::crash::child_that_commits_until_it_is_killed";
    let mut process = child(test, path).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut seen = 0;
    for line in lines {
        let Ok(line) = line else { break };
        // The test harness writes lines of its own, and begins the first of ours.
        if let Some((_, ours)) = line.split_once("committed ") {
            acknowledged.note(ours);
            seen += 1;
            if seen == kill_after {
                process.kill().unwrap();
            }
        }
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(seen >= kill_after, "the child ended before it was killed");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of a_killed_process_loses_nothing_that_it_acknowledged"]
async fn child_that_commits_until_it_is_killed() {
    let Some(path) = child_path() else { return };
    let store = open(&path).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let store = store.clone();
        tasks.spawn(async move {
            let keys: Vec<Key> = (0..KEYS).map(|n| base(task).indexed(n).unwrap()).collect();
            let last = store.get(&keys[0]).await.unwrap();
            let first = last.map_or(0, |entry| number(&entry.value)) + 1;
            for number in first.. {
                // Sizes from nothing to more than a page, so that pages split and merge.
                let mut value = number.to_string().into_bytes();
                let size = usize::try_from(number * 977 % 6000).unwrap();
                value.resize(value.len() + size, b' ');
                let all = |transaction: Transaction, key| transaction.put(key, value.clone());
                let transaction = keys.iter().fold(Transaction::new(), all);
                let revision = commit(&store, transaction).await;
                println!("committed {task} {number} {revision}");
            }
        });
    }
    tasks.join_all().await;
}

fn base(task: u64) -> Key {
    key("/task").indexed(task).unwrap()
}

fn number(value: &[u8]) -> u64 {
    let text = std::str::from_utf8(value).unwrap();
    text.trim_end().parse().unwrap()
}
