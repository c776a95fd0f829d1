//! The report of a plan, for people.

use interlock_planner::{Entry, PreVerdict, Report, Subject};

use super::{Paint, Tone, clean};

/// How many are named of those of whom a line is; the others are counted.
const NAMED: usize = 8;

/// The entries, one a line: what stands against the plan last, where a person looks first. Nodes of which the same is said that
/// nothing has to be done about share a line.
pub(crate) fn report_lines(report: &Report, paint: Paint) -> String {
    let (refusals, mut rest): (Vec<&Entry>, Vec<&Entry>) =
        report.entries().iter().partition(|entry| entry.refuses());
    let mut lines = String::new();
    while !rest.is_empty() {
        let first = rest.remove(0);
        let alike: Vec<&Entry> = rest.extract_if(.., |other| said_of(first, other)).collect();
        lines.push_str(&match alike.as_slice() {
            [] => line(first, paint),
            alike => shared(first, alike, paint),
        });
    }
    lines.extend(refusals.into_iter().map(|entry| line(entry, paint)));
    lines
}

/// Whom an entry is about that asks for nothing to be done, and what it says of it.
fn idle(entry: &Entry) -> Option<(&Subject, &str)> {
    match entry {
        Entry::AlreadyDone { subject, state } => Some((subject, state.as_str())),
        Entry::Excluded { subject, why } => Some((subject, why.as_str())),
        _ => None,
    }
    .filter(|(subject, _)| subject.node.is_some())
}

/// Is the same said of another node, or of another instance of the same service?
fn said_of(entry: &Entry, other: &Entry) -> bool {
    let (Some((one, said)), Some((another, same))) = (idle(entry), idle(other)) else {
        return false;
    };
    let is_of_one_kind = std::mem::discriminant(entry) == std::mem::discriminant(other);
    is_of_one_kind && one.service == another.service && said == same
}

/// One line for several nodes.
fn shared(first: &Entry, alike: &[&Entry], paint: Paint) -> String {
    let all = std::iter::once(&first).chain(alike);
    let subjects: Vec<&Subject> = all.filter_map(|it| Some(idle(it)?.0)).collect();
    let mut names: Vec<String> = subjects
        .iter()
        .take(NAMED)
        .map(|it| match (&it.service, &it.node) {
            (None, Some(node)) => node.to_string(),
            _ => it.to_string(),
        })
        .collect();
    let kind = if subjects.iter().all(|it| it.service.is_none()) {
        "nodes "
    } else {
        ""
    };
    if let Some(more @ 1..) = subjects.len().checked_sub(NAMED) {
        names.push(format!("{more} more"));
    }
    let last = names.pop().unwrap_or_default();
    let names = format!("{kind}{} and {last}", names.join(", "));
    let text = match first {
        Entry::AlreadyDone { state, .. } => format!("already done: {names} are {state}"),
        Entry::Excluded { why, .. } => format!("excluded: {names}, each: {why}"),
        _ => return line(first, paint),
    };
    format!("{}\n", paint.tone(tone(first), &clean(&text)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_which_the_same_is_said_share_a_line_and_nobody_else_does() {
        let entries = serde_json::json!([
            { "entry": "already-done", "node": "a1", "state": "on" },
            { "entry": "already-done", "service": "web", "node": "a1", "state": "running" },
            { "entry": "already-done", "node": "a2", "state": "on" },
            { "entry": "excluded", "node": "a3", "why": "on" },
            { "entry": "already-done", "service": "web", "node": "a2", "state": "running" },
            { "entry": "already-done", "service": "db", "node": "a2", "state": "running" },
            { "entry": "excluded", "node": "a4", "why": "it has no power source" },
            { "entry": "excluded", "node": "a5", "why": "it has no power source" },
            { "entry": "warning", "node": "a4", "text": "on" },
            { "entry": "warning", "node": "a5", "text": "on" },
        ]);
        let report: Report = serde_json::from_value(entries).unwrap();
        let lines = report_lines(&report, Paint::new(false));
        assert_eq!(
            lines,
            "already done: nodes a1 and a2 are on\n\
             already done: web@a1 and web@a2 are running\n\
             excluded: node a3: on\n\
             already done: db@a2 is running\n\
             excluded: nodes a4 and a5, each: it has no power source\n\
             warning: node a4: on\n\
             warning: node a5: on\n"
        );

        let many = (0..12).map(|number| {
            let node = format!("a{number}");
            serde_json::json!({ "entry": "already-done", "node": node, "state": "on" })
        });
        let report: Report = serde_json::from_value(many.collect()).unwrap();
        let lines = report_lines(&report, Paint::new(false));
        assert_eq!(
            lines,
            "already done: nodes a0, a1, a2, a3, a4, a5, a6, a7 and 4 more are on\n"
        );
    }
}
