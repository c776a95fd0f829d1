//! Tells the story of one seed: `cargo run -p interlock-sim --example story -- SEED [CLUSTER [TROUBLE [OPERATION [WRITE MOMENT]]]]`,
//! with a cluster of `large`, `small`, `random`, `watched`, the seconds in which things go wrong, and `shutdown`, `restart`,
//! `reboot`, `both` of these two or `all` (a restart, then down and up); after that, the journal write at which the
//! coordinator dies, and `before`, `between` or `after`. `HARSH=1`, `RESTORES=1` and `STALLS=1` make it harder.

use std::time::Duration;

use interlock_model::plan::PlanKind;
use interlock_sim::{Crash, Setup, Simulation, Task, WriteMoment, clusters};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seed = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    let spec = match arguments.next().as_deref() {
        Some("small") => clusters::small(),
        Some("random") => clusters::random(seed),
        Some("watched") => clusters::watched(),
        _ => clusters::large(),
    };
    let trouble = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let tasks: Vec<Task> = match arguments.next().as_deref() {
        Some("shutdown") => vec![Task::all(PlanKind::Shutdown)],
        Some("restart") => vec![Task::all(PlanKind::Restart)],
        Some("reboot") => vec![Task::all(PlanKind::Reboot)],
        Some("all") => [PlanKind::Restart, PlanKind::Shutdown, PlanKind::Startup]
            .map(Task::all)
            .into(),
        Some("both") => [PlanKind::Restart, PlanKind::Reboot].map(Task::all).into(),
        _ => [PlanKind::Shutdown, PlanKind::Startup]
            .map(Task::all)
            .into(),
    };
    let mut setup = Setup::quiet(seed, &spec, &tasks);
    setup.trouble = Duration::from_secs(trouble);
    let is_set = |name| std::env::var_os(name).is_some();
    setup.harsh = is_set("HARSH");
    setup.restores = is_set("RESTORES");
    if is_set("STALLS") {
        setup.stalls = Duration::from_secs(120);
    }
    if let (Some(write), Some(moment)) = (arguments.next(), arguments.next()) {
        let moment = match moment.as_str() {
            "before" => WriteMoment::Before,
            "between" => WriteMoment::Between,
            _ => WriteMoment::After,
        };
        let write = write.parse().unwrap_or(0);
        setup.crash = Some(Crash::Coordinator { write, moment });
    }
    let report = Simulation::new(setup).telling().run();
    for line in &report.story {
        println!("{line}");
    }
    println!("{report}");
}
