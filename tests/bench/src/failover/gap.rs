//! A run: for how long no row was acknowledged, and where the time went.

use anyhow::{Context as _, Result};
use interlock_e2e::rows::Row;
use serde_json::Value;

use crate::stats::middle;

/// A run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// For how long no row was acknowledged, in seconds.
    pub(crate) gap: f64,
    /// Where the time went, if the lease was handed on.
    pub(crate) phases: Option<Phases>,
}

/// When the gap began and ended, in seconds of `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Gap {
    pub(crate) began: f64,
    pub(crate) ended: f64,
}

impl Gap {
    /// The longest time between two acknowledgements, of which the second one came after `since`.
    pub(crate) fn find(rows: &[Row], since: f64) -> Result<Self> {
        let mut at: Vec<f64> = rows.iter().map(|row| row.acknowledged).collect();
        at.sort_by(f64::total_cmp);
        let pairs = at.windows(2).filter(|pair| pair[1] > since);
        let longest =
            pairs.max_by(|one, other| (one[1] - one[0]).total_cmp(&(other[1] - other[0])));
        let pair = longest.context("no row was acknowledged afterwards")?;
        Ok(Self {
            began: pair[0],
            ended: pair[1],
        })
    }

    pub(crate) fn length(self) -> f64 {
        self.ended - self.began
    }
}

/// How long each phase took, in seconds. Its ends are told by different machines, to the millisecond, and the last one by the
/// agent's word to the coordinator, which may come after the first row: so one may be a little below zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Phases {
    /// From the last row to the end of the old right, where that was given back.
    released: Option<f64>,
    /// From there to the decision; if nothing was given back, from the last row.
    decided: f64,
    /// From the decision to the right of the new holder.
    held: f64,
    /// From there to its being primary.
    primary: f64,
    /// From there to the first row.
    row: f64,
}

impl Phases {
    /// Of this decision (`interlockctl why -o json`); `wall` is what the wall clock is ahead of `CLOCK_MONOTONIC`.
    pub(crate) fn of(decision: &Value, gap: Gap, wall: f64) -> Result<Self> {
        let at = |phase: &str| -> Result<f64> {
            let text = decision["times"][phase].as_str();
            let text = text.with_context(|| format!("no time of {phase}: {decision}"))?;
            let time: jiff::Timestamp = text.parse().context("no time")?;
            Ok(time.as_microsecond() as f64 / 1e6 - wall)
        };
        let over = decision["over"].as_array().and_then(|over| over.last());
        let released = over.is_some_and(|over| over["how"] == "released");
        let released = released.then(|| at("last_renewed")).transpose()?;
        let (decided, held, primary) = (at("decided")?, at("held")?, at("primary")?);
        Ok(Self {
            released: released.map(|released| released - gap.began),
            decided: decided - released.unwrap_or(gap.began),
            held: held - decided,
            primary: primary - held,
            row: gap.ended - primary,
        })
    }

    /// The medians of all runs in which the lease was handed on, in a line.
    pub(crate) fn told(samples: &[Sample]) -> Option<String> {
        let all: Vec<Self> = samples.iter().filter_map(|sample| sample.phases).collect();
        let of = |phase: &dyn Fn(&Self) -> Option<f64>| {
            let mut values: Vec<f64> = all.iter().filter_map(phase).collect();
            middle(&mut values)
        };
        let phases: [(&str, Option<f64>); 5] = [
            ("given back after", of(&|it| it.released)),
            ("decided after", of(&|it| Some(it.decided))),
            ("right after", of(&|it| Some(it.held))),
            ("primary after", of(&|it| Some(it.primary))),
            ("first row after", of(&|it| Some(it.row))),
        ];
        let told: Vec<String> = phases
            .iter()
            .filter_map(|(name, time)| time.map(|time| format!("{name} {time:.3}")))
            .collect();
        (!told.is_empty()).then(|| format!("phases, medians: {}", told.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(acknowledged: f64) -> Row {
        Row {
            sent: acknowledged,
            acknowledged,
            server: "db1/1".to_owned(),
            text: "w-1".to_owned(),
        }
    }

    #[test]
    fn a_gap_is_the_longest_pause_after_the_fault_and_not_one_before_it() {
        let rows: Vec<Row> = [1.0, 3.0, 3.01, 3.5, 3.51].map(row).into();
        let gap = Gap::find(&rows, 3.005).unwrap();
        assert_eq!((gap.began, gap.ended), (3.01, 3.5));
        assert!(Gap::find(&rows, 4.0).is_err(), "nothing came after it");
    }

    fn decision(how: &str) -> Value {
        let at = |millis: u32| format!("2026-01-01T00:00:01.{millis:03}Z");
        json!({
            "over": [{ "epoch": 1, "how": "never-held" }, { "epoch": 2, "how": how }],
            "times": { "last_renewed": at(100), "decided": at(300), "held": at(350), "primary": at(500) },
        })
    }

    #[test]
    fn the_phases_add_up_to_the_gap_and_what_was_not_given_back_is_no_phase() {
        let begin: jiff::Timestamp = "2026-01-01T00:00:01Z".parse().unwrap();
        let wall = begin.as_second() as f64 - 50.0;
        let gap = Gap {
            began: 50.0,
            ended: 50.6,
        };
        for (how, parts) in [("released", 5), ("expired", 4)] {
            let phases = Phases::of(&decision(how), gap, wall).unwrap();
            let sum = phases.released.unwrap_or(0.0)
                + phases.decided
                + phases.held
                + phases.primary
                + phases.row;
            assert!((sum - gap.length()).abs() < 1e-5, "{phases:?}");
            let sample = Sample {
                gap: gap.length(),
                phases: Some(phases),
            };
            let told = Phases::told(&[sample]).unwrap();
            assert_eq!(told.matches(" after ").count(), parts, "{told}");
        }
        let in_place = Sample {
            gap: 1.0,
            phases: None,
        };
        assert_eq!(Phases::told(&[in_place]), None);
    }
}
