//! Everything that can happen to the primary, and to the control plane at the same moment. Commits wait for the standby, so no row
//! that was acknowledged may be missing afterwards, and two sides never take rows.
//!
//! By default some of the combinations are run; `INTERLOCK_SCENARIOS=all` runs each of them, with etcd away for a minute, which
//! takes half an hour. `INTERLOCK_SCENARIOS=AllOfEtcd-Frozen,Whole-Deaf` runs those.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::Lab;

use crate::control::{Control, Fault, Plane};

/// Which ones are run, by name, or all of them.
const VARIABLE: &str = "INTERLOCK_SCENARIOS";

/// What is run if nothing else is asked for: what no other lab does to a primary, and each thing that can happen to the control plane.
const SOME: [(Control, Fault); 5] = [
    (Control::Whole, Fault::Frozen),
    (Control::Whole, Fault::FromPeer),
    (Control::EtcdLeader, Fault::Deaf),
    (Control::AllOfEtcd, Fault::Frozen),
    (Control::Coordinator, Fault::None),
];

/// For how long all of etcd is away, by default and where everything is asked for.
const AWAY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

type Combination = (Control, Fault);

fn all() -> Vec<Combination> {
    let of = |control| Fault::ALL.map(|fault| (control, fault));
    Control::ALL.into_iter().flat_map(of).collect()
}

/// What is to be run, and for how long etcd is away.
fn asked_for(text: Option<&str>) -> Result<(Vec<Combination>, Duration)> {
    let text = match text {
        None => return Ok((SOME.to_vec(), AWAY.0)),
        Some("all") => return Ok((all(), AWAY.1)),
        Some(text) => text,
    };
    let known = all();
    let one = |name: &str| {
        let mut known = known.iter();
        let found = known.find(|(control, fault)| format!("{control:?}-{fault:?}") == name);
        found.copied().with_context(|| {
            format!("{VARIABLE} has {name:?}; there is Whole-Frozen, AllOfEtcd-None and so on")
        })
    };
    let asked = text.split(',').map(one).collect::<Result<Vec<_>>>()?;
    Ok((asked, AWAY.1))
}

#[test]
fn whatever_happens_to_the_primary_and_to_its_coordinators_at_once_no_row_is_lost() -> Result<()> {
    let asked = std::env::var(VARIABLE).ok();
    let (combinations, away) = asked_for(asked.as_deref())?;
    let Some(lab) = Lab::open("postgres-faults")? else {
        return Ok(());
    };
    let Some(plane) = Plane::build(&lab)? else {
        return lab.close();
    };
    let site = plane.site();
    let mut writers = site.start()?;
    for combination in combinations {
        let done = plane.run(combination, away, &mut writers);
        done.with_context(|| format!("{combination:?}; {}", writers.story().unwrap_or_default()))?;
        let with = || format!("after {combination:?}");
        writers.never_two_at_once().with_context(with)?;
        let lost = writers.lost(&writers.rows()?, &site.rows_there()?);
        ensure!(
            lost.is_empty(),
            "{} rows are lost after {combination:?}: {lost:?}",
            lost.len()
        );
    }
    println!("no row for {:?}", writers.longest_gap()?);
    site.tell(&writers)?;
    lab.close()
}

#[test]
fn combinations_are_asked_for_by_name() -> Result<()> {
    ensure!(asked_for(None)?.0 == SOME);
    ensure!(asked_for(Some("all"))?.0.len() == 36);
    let (asked, away) = asked_for(Some("AllOfEtcd-Power,Whole-Deaf"))?;
    ensure!(
        asked
            == [
                (Control::AllOfEtcd, Fault::Power),
                (Control::Whole, Fault::Deaf)
            ]
    );
    ensure!(away == AWAY.1);
    ensure!(asked_for(Some("Whole-Nothing")).is_err());
    Ok(())
}
