//! Problems as a person reads them: the line of the file with a mark under what is at fault.

use std::fmt::Write as _;

use super::{Problems, visible};

/// The most characters of a line that are shown.
const WIDEST: usize = 110;

/// Where something is: line, column, width.
type Spot = (u32, u32, u32);

pub(super) fn render(problems: &Problems, source: &[u8]) -> String {
    let source = String::from_utf8_lossy(source);
    let source = source.strip_prefix('\u{feff}').unwrap_or(&source);
    let lines: Vec<&str> = source.lines().collect();
    let file: String = problems.file.chars().map(visible).collect();
    let mut out = String::new();
    // Writing to a String cannot fail.
    for problem in &problems.problems {
        let _ = writeln!(out, "{}: {}", problem.severity, problem.what);
        let widest = problem
            .notes
            .iter()
            .map(|note| note.line)
            .fold(problem.line, u32::max);
        let gutter = widest.to_string().len();
        let _ = write!(
            out,
            "{:gutter$}--> {file}:{}:{}",
            "", problem.line, problem.column
        );
        match problem.path.as_str() {
            "" => out.push('\n'),
            path => {
                let path: String = path.chars().map(visible).collect();
                let _ = writeln!(out, " ({path})");
            }
        }
        let spot = (problem.line, problem.column, problem.width);
        excerpt(&mut out, &lines, gutter, spot, '^', &problem.why);
        for note in &problem.notes {
            excerpt(
                &mut out,
                &lines,
                gutter,
                (note.line, note.column, note.width),
                '-',
                &note.text,
            );
        }
        if let Some(suggestion) = &problem.suggestion {
            let _ = writeln!(out, "{:gutter$} = help: {suggestion}", "");
        }
        out.push('\n');
    }
    if problems.more > 0 {
        let _ = writeln!(out, "and {} more problems, not listed", problems.more);
    }
    out
}

/// One line of the file and, under it, the mark and what it says.
fn excerpt(out: &mut String, lines: &[&str], gutter: usize, spot: Spot, mark: char, text: &str) {
    let (line, column, width) = spot;
    let at = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let Some(content) = lines.get(at(line).saturating_sub(1)) else {
        if !text.is_empty() {
            let _ = writeln!(out, "{:gutter$} = note: {text}", "");
        }
        return;
    };
    let column = at(column).saturating_sub(1);
    let skipped = column.saturating_sub(WIDEST * 2 / 3);
    let mut shown: String = content
        .chars()
        .skip(skipped)
        .take(WIDEST)
        .map(visible)
        .collect();
    let length = shown.chars().count();
    let indent = (column - skipped).min(length);
    let width = at(width).clamp(1, length.saturating_sub(indent).max(1));
    if skipped > 0 {
        shown = format!("…{}", shown.chars().skip(1).collect::<String>());
    }
    let _ = writeln!(out, "{:gutter$} |", "");
    let _ = writeln!(out, "{line:>gutter$} | {shown}");
    let marks = mark.to_string().repeat(width);
    let marked = format!("{:indent$}{marks} {text}", "");
    let _ = writeln!(out, "{:gutter$} | {}", "", marked.trim_end());
}
