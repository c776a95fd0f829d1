//! Things go wrong by chance for a while, then no more: no rule is ever broken, and everything comes to its end.
//!
//! A set of seeds that is always the same, and one that nobody has seen before. To see a run again:
//! `INTERLOCK_SEED=1234 cargo nextest run -p interlock-sim --test seeds`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use interlock_model::plan::PlanKind;
use interlock_model::spec::Spec;
use interlock_sim::{Random, Report, Setup, Simulation, Task, clusters};

/// Seeds that have found something, and what. A seed is one way through the code: a change elsewhere may send it
/// another way, so a seed is kept beside a test of its own for what it found, not instead of one.
const FOUND: [(u64, &str); 8] = [
    (
        1526,
        "the side moved during a stop, and the memory stayed with the other one",
    ),
    (
        1790,
        "a start was taken back where the side had moved to, without a look",
    ),
    (
        21_659,
        "a second operator's operation was at work when the end of the first was seen",
    ),
    (21_911, "the same once more"),
    (
        22_191,
        "the hello of a dead session arrived after that of the next one",
    ),
    (
        22_218,
        "the last instance went without a look, and was not the active one",
    ),
    (
        24_310,
        "the side moved while an agent was away, and its old word was taken when it came back",
    ),
    (
        32_466,
        "the side had moved to another instance that was up, and no look had been since",
    ),
];

/// The same of seeds in which instances die.
const FOUND_HARSH: [(u64, &str); 2] = [
    (
        1462,
        "an agent was back and had not said yet what it saw, and its old word was remembered",
    ),
    (
        2028,
        "the same, and both sides were taken for down while one was up",
    ),
];

/// How long things go wrong, in virtual time.
const TROUBLE: Duration = Duration::from_secs(120);

/// What a seed has to stand besides the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Usual,
    /// Instances die, messages come late.
    Harsh,
    /// The store goes back.
    Restored,
    /// What failed is skipped, and all of it taken back.
    Impatient,
}

fn run(seed: u64, kind: Kind, spec: &Arc<Spec>, kinds: &[PlanKind]) -> Report {
    let tasks: Vec<Task> = kinds.iter().copied().map(Task::all).collect();
    run_tasks(seed, kind, spec, &tasks)
}

fn run_tasks(seed: u64, kind: Kind, spec: &Arc<Spec>, tasks: &[Task]) -> Report {
    let mut setup = Setup::quiet(seed, spec, tasks);
    setup.trouble = TROUBLE;
    setup.harsh = kind == Kind::Harsh;
    setup.restores = kind == Kind::Restored;
    setup.impatient = kind == Kind::Impatient;
    let report = Simulation::new(setup.clone()).run();
    if !report.finished || !report.violations.is_empty() {
        // The same once more, with its story.
        Simulation::new(setup).telling().run().assert_good();
    }
    report
}

/// The cluster and the operations that a seed stands for.
fn run_seed(seed: u64, kind: Kind) -> Report {
    // A guard has something to do only once an operation has started something.
    let restart_first = [PlanKind::Restart, PlanKind::Shutdown, PlanKind::Startup];
    let down_and_up = match kind {
        Kind::Usual | Kind::Restored | Kind::Impatient => &restart_first[1..],
        Kind::Harsh => &restart_first,
    };
    match seed % 4 {
        0 => run(seed, kind, &clusters::large(), down_and_up),
        1 => run(seed, kind, &clusters::small(), down_and_up),
        2 => run(seed, kind, &clusters::random(seed), down_and_up),
        _ => run(
            seed,
            kind,
            &clusters::large(),
            &[PlanKind::Restart, PlanKind::Reboot],
        ),
    }
}

#[test]
fn the_seeds_that_everybody_runs() {
    for seed in 0..60 {
        run_seed(seed, Kind::Usual);
    }
}

#[test]
fn the_seeds_in_which_instances_die() {
    let (mut died, mut guarded) = (0, 0);
    for seed in 0..40 {
        let report = run_seed(seed, Kind::Harsh);
        died += report.died;
        guarded += report.guarded;
    }
    assert!(
        died > 400 && guarded > 200,
        "{died} died, {guarded} were brought up again"
    );
}

#[test]
fn the_seeds_in_which_the_store_goes_back() {
    let restored: usize = (0..40)
        .map(|seed| run_seed(seed, Kind::Restored).restored)
        .sum();
    assert!(restored > 40, "{restored}");
}

#[test]
fn the_seeds_in_which_what_was_skipped_is_taken_back() {
    for seed in 0..24 {
        run_seed(seed, Kind::Impatient);
    }
}

/// Members are drained and admitted while everything goes wrong that may.
#[test]
fn the_seeds_with_load_balancers() {
    let kinds = [
        PlanKind::Restart,
        PlanKind::Reboot,
        PlanKind::Shutdown,
        PlanKind::Startup,
    ];
    for seed in 0..32 {
        let kind = match seed % 4 {
            0 | 1 => Kind::Usual,
            2 => Kind::Harsh,
            _ => Kind::Impatient,
        };
        let from = usize::from(kind != Kind::Harsh && seed % 8 > 3);
        run(seed, kind, &clusters::fronted(), &kinds[from..]);
    }
}

/// A file is changed on the way of a rolling restart, and put back.
#[test]
fn the_seeds_in_which_a_file_is_changed() {
    let web = "web".parse().unwrap();
    let tasks = ["one", "two", "three"].map(|text| Task::change(&web, text));
    for seed in 0..32 {
        let kind = match seed % 4 {
            0 | 1 => Kind::Usual,
            2 => Kind::Harsh,
            _ => Kind::Impatient,
        };
        run_tasks(seed, kind, &clusters::fronted(), &tasks);
    }
}

#[test]
fn the_seeds_in_which_an_agent_speaks_of_another_line_of_the_store() {
    for seed in [63, 87, 95, 167] {
        run_seed(seed, Kind::Restored);
    }
}

#[test]
fn the_seeds_that_found_something() {
    for (seed, what) in FOUND {
        println!("{seed}: {what}");
        run_seed(seed, Kind::Usual);
    }
    for (seed, what) in FOUND_HARSH {
        println!("{seed}: {what}");
        run_seed(seed, Kind::Harsh);
    }
}

#[test]
fn a_seed_that_nobody_has_seen() {
    let chosen = std::env::var("INTERLOCK_SEED").ok().map(|text| {
        text.parse()
            .expect("INTERLOCK_SEED is a whole number, as a failed run printed it")
    });
    let seed = chosen.unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanos = since.map_or(0, |since| since.subsec_nanos().into());
        Random::new(nanos).number() % 1_000_000_000
    });
    println!("INTERLOCK_SEED={seed}");
    // `Kind::Restored` joins them when its seeds below need not wait any more.
    for kind in [Kind::Usual, Kind::Harsh] {
        run_seed(seed, kind);
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let tell = || {
        let tasks = [PlanKind::Shutdown, PlanKind::Startup].map(Task::all);
        let mut setup = Setup::quiet(7, &clusters::small(), &tasks);
        setup.trouble = TROUBLE;
        Simulation::new(setup).telling().run().story
    };
    let story = tell();
    assert!(story.len() > 100);
    assert_eq!(story, tell());
}
