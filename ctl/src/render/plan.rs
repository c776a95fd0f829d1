//! The report of a plan, for people.

use interlock_planner::{Entry, PreVerdict, Report};

use super::{Paint, Tone, clean};

/// The entries, one a line: what stands against the plan last, where a person looks first.
pub(crate) fn report_lines(report: &Report, paint: Paint) -> String {
    let (refusals, rest): (Vec<&Entry>, Vec<&Entry>) =
        report.entries().iter().partition(|entry| entry.refuses());
    rest.into_iter()
        .chain(refusals)
        .map(|entry| line(entry, paint))
        .collect()
}

/// An entry: its line, or its lines where a file changes.
fn line(entry: &Entry, paint: Paint) -> String {
    let text = entry.to_string();
    let tone = tone(entry);
    let Entry::Changes { .. } = entry else {
        return format!("{}\n", paint.tone(tone, &clean(&text)));
    };
    let lines = text.lines().map(|line| {
        let tone = match line.as_bytes() {
            [b' ', b' ', b'+', ..] => Tone::Good,
            [b' ', b' ', b'-', ..] => Tone::Bad,
            _ => tone,
        };
        format!("{}\n", paint.tone(tone, &clean(line)))
    });
    lines.collect()
}

/// One line about a report that stands against the plan.
pub(crate) fn no_plan_line(report: &Report) -> String {
    let count = report.refusals().count();
    let reasons = if count == 1 { "reason" } else { "reasons" };
    format!("no plan can be made, for {count} {reasons}; nothing was done")
}

fn tone(entry: &Entry) -> Tone {
    match entry {
        Entry::PreCheck { verdict, .. } => match verdict {
            PreVerdict::Pass => Tone::Plain,
            PreVerdict::Fail | PreVerdict::Unknown => Tone::Doubt,
        },
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
        | Entry::NoReturn { .. }
        | Entry::AtEnd { .. }
        | Entry::Changes { .. }
        | Entry::Keeps { .. } => Tone::Plain,
    }
}
