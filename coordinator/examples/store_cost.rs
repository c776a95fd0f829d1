//! What a durable commit costs, against the floor of the same machine in the same run.
//!
//! ```text
//! cargo run --release -p interlock-coordinator --example store_cost [DIRECTORY [SECONDS]]
//! ```
//!
//! The floor is a plain file: append 200 bytes, fdatasync. The store commits one conditional
//! transaction of a state (compared by revision, put) and a journal entry of 200 bytes, as each
//! step of an operation does, from one and from many tasks. The phases take turns, so that both
//! sides see the same load of the machine. Results are ratios; absolute times do not travel.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use interlock_coordinator::store::embedded::{Embedded, IfMissing, Options};
use interlock_coordinator::store::{Condition, Key, Store, Transaction};

/// Bytes of one journal entry.
const RECORD: usize = 200;

/// Tasks that commit at once.
const TASKS: [u64; 4] = [1, 4, 16, 64];

/// Turns; every phase has its share of each.
const TURNS: u32 = 4;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments.next().map_or(Ok(2.0), |text| text.parse())?;
    let turn = Duration::try_from_secs_f64(seconds)? / TURNS;
    let directory = tempfile::Builder::new().tempdir_in(parent)?;

    let store = Embedded::open(Options {
        path: directory.path().join("store"),
        if_missing: IfMissing::Create,
    })
    .await?;
    let mut floor = Vec::new();
    let mut ours = TASKS.map(|_| (Vec::new(), Duration::ZERO));
    for number in 0..TURNS {
        let file = directory.path().join(format!("floor{number}"));
        floor.extend(tokio::task::spawn_blocking(move || append(&file, turn)).await??);
        for (tasks, (times, wall)) in TASKS.iter().zip(&mut ours) {
            let start = Instant::now();
            times.extend(commits(&store, number, *tasks, turn).await?);
            *wall += start.elapsed();
        }
    }
    let all = store.snapshot(&Key::new("/op")?.below()).await?;
    let start = Instant::now();
    let mut reads = 0_u32;
    while start.elapsed() < turn {
        let entry = &all.entries[reads as usize % all.entries.len()];
        store.get(&entry.key).await?;
        reads += 1;
    }
    let read = start.elapsed() / reads;
    store.close().await;
    let path = directory.path().join("store");
    let bytes = std::fs::metadata(&path)?.len();
    let start = Instant::now();
    let if_missing = IfMissing::Refuse;
    Embedded::open(Options { path, if_missing })
        .await?
        .close()
        .await;
    let opened = start.elapsed();

    println!(
        "{:<34} {:>10} {:>9} {:>9} {:>14}",
        "", "per second", "p50 ms", "p99 ms", "against floor"
    );
    let total = floor.iter().sum();
    let (rate, p50) = report("floor: append + fdatasync", &mut floor, total, None);
    for (tasks, (times, wall)) in TASKS.iter().zip(&mut ours) {
        let name = format!("commit, {tasks} at once");
        report(&name, times, *wall, Some((rate, p50)));
    }
    println!("one read: {read:?}");
    let entries = all.entries.len();
    println!("closing, and opening {bytes} bytes with {entries} entries: {opened:?}");
    Ok(())
}

/// The floor.
fn append(path: &Path, during: Duration) -> std::io::Result<Vec<Duration>> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < during {
        let begun = Instant::now();
        file.write_all(&[7; RECORD])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// Commits of `tasks` operations at once, each with a journal of its own.
async fn commits(
    store: &Embedded,
    turn: u32,
    tasks: u64,
    during: Duration,
) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let mut running = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let store = store.clone();
        let operation = Key::new(format!("/op/{turn}-{tasks}-{task}"))?;
        running.spawn(async move {
            one(&store, &operation, during)
                .await
                .map_err(|e| e.to_string())
        });
    }
    let mut times = Vec::new();
    while let Some(done) = running.join_next().await {
        times.extend(done??);
    }
    Ok(times)
}

async fn one(
    store: &Embedded,
    operation: &Key,
    during: Duration,
) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let state = operation.child("state")?;
    let journal = operation.child("j")?;
    let create = Transaction::new().put(&state, *b"running");
    let mut revision = store.commit(create).await?.committed()?;
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < during {
        let entry = journal.indexed(times.len() as u64)?;
        let transaction = Transaction::new()
            .when(Condition::ModifiedAt(state.clone(), revision))
            .put(&state, *b"running")
            .put(&entry, [7; RECORD]);
        let begun = Instant::now();
        revision = store.commit(transaction).await?.committed()?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// Prints one line; returns the rate and the median, for the ratios of the others.
fn report(
    name: &str,
    times: &mut [Duration],
    wall: Duration,
    floor: Option<(f64, f64)>,
) -> (f64, f64) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let rate = times.len() as f64 / wall.as_secs_f64();
    let (p50, p99) = (at(50), at(99));
    let ratio = floor.map_or_else(String::new, |(floor_rate, floor_p50)| {
        format!("{:.2}x / {:.2}x", rate / floor_rate, p50 / floor_p50)
    });
    println!("{name:<34} {rate:>10.0} {p50:>9.3} {p99:>9.3} {ratio:>14}");
    (rate, p50)
}
