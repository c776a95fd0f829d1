//! The report of a plan, for people.

use interlock_planner::{Entry, Report};

use super::{Paint, Tone, clean};

/// The entries, one a line: what stands against the plan last, where a person looks first.
pub(crate) fn report_lines(report: &Report, paint: Paint) -> String {
    let (refusals, rest): (Vec<&Entry>, Vec<&Entry>) =
        report.entries().iter().partition(|entry| entry.refuses());
    rest.into_iter()
        .chain(refusals)
        .map(|entry| format!("{}\n", paint.tone(tone(entry), &clean(&entry.to_string()))))
        .collect()
}

/// One line about a report that stands against the plan.
pub(crate) fn no_plan_line(report: &Report) -> String {
    let count = report.refusals().count();
    let reasons = if count == 1 { "reason" } else { "reasons" };
    format!("no plan can be made, for {count} {reasons}; nothing was done")
}

fn tone(entry: &Entry) -> Tone {
    match entry {
        Entry::Blocked { .. } | Entry::CapacityShort { .. } | Entry::Internal { .. } => Tone::Bad,
        Entry::Unknown { .. }
        | Entry::Warning { .. }
        | Entry::Assumed { .. }
        | Entry::LeftForYou { .. } => Tone::Doubt,
        Entry::Excluded { .. }
        | Entry::AlreadyDone { .. }
        | Entry::Limits { .. }
        | Entry::Recovery { .. } => Tone::Faint,
        Entry::Included { .. }
        | Entry::Active { .. }
        | Entry::AtEnd { .. }
        | Entry::Keeps { .. } => Tone::Plain,
    }
}
