//! Tables without lines: columns as wide as their widest cell, so that `awk` can read them too.
//!
//! On a terminal that is too narrow the widest columns give way, evenly, so that none is lost; what is cut ends in an
//! ellipsis. A pipe gets everything.

use super::{Paint, Tone, clean};

/// What a column keeps, however narrow the terminal is.
const LEAST: usize = 8;

/// Rows under a head.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    /// An empty table with these columns.
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self {
            head: head.iter().map(|title| title.to_uppercase()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. A cell that is empty is shown as `-`, so that columns can be counted.
    pub(crate) fn row<const N: usize>(&mut self, cells: [(String, Tone); N]) {
        self.rows.push(
            cells
                .into_iter()
                .map(|(text, tone)| (shown(&text), tone))
                .collect(),
        );
    }

    /// The text, in the room that the terminal has if it is one.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let limit = paint.width().unwrap_or(usize::MAX);
        let mut widths: Vec<usize> = self
            .head
            .iter()
            .map(|title| title.chars().count())
            .collect();
        for row in &self.rows {
            for (width, (text, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.chars().count());
            }
        }
        give_way(&mut widths, limit);
        let mut lines = vec![line(
            paint,
            limit,
            &widths,
            self.head.iter().map(|title| (title.as_str(), Tone::Faint)),
        )];
        lines.extend(self.rows.iter().map(|row| {
            let cells = row.iter().map(|(text, tone)| (text.as_str(), *tone));
            line(paint, limit, &widths, cells)
        }));
        lines.concat()
    }
}

fn line<'a>(
    paint: Paint,
    limit: usize,
    widths: &[usize],
    cells: impl Iterator<Item = (&'a str, Tone)>,
) -> String {
    let mut text = String::new();
    let mut at = 0;
    let last = widths.len().saturating_sub(1);
    for (index, ((cell, tone), width)) in cells.zip(widths).enumerate() {
        // More columns than there is room for at their least: the rest of the line is marked as cut.
        let room = limit.saturating_sub(at);
        if index > 0 && room < LEAST.min(*width) && index < last {
            text.truncate(text.trim_end().len());
            text.push_str(" …");
            break;
        }
        let shown = cut(cell, room.min(*width));
        let gap = (width - shown.chars().count().min(*width)) + 2;
        text.push_str(&paint.tone(tone, &shown));
        if index < last {
            text.push_str(&" ".repeat(gap.min(room)));
            at += width + 2;
        }
    }
    format!("{}\n", text.trim_end())
}

/// Takes from the widest columns, evenly, what the lines are too long for the terminal.
fn give_way(widths: &mut [usize], limit: usize) {
    let gaps = 2 * widths.len().saturating_sub(1);
    loop {
        let sum = widths.iter().sum::<usize>() + gaps;
        let Some(over @ 1..) = sum.checked_sub(limit) else {
            return;
        };
        let widest = widths.iter().copied().max().unwrap_or(0);
        if widest <= LEAST {
            return;
        }
        let next = widths.iter().copied().filter(|width| *width < widest).max();
        let wide = widths.iter().filter(|width| **width == widest).count();
        // Down to the next ones, and not further than needed.
        let down = (widest - next.unwrap_or(LEAST).max(LEAST)).min(over.div_ceil(wide));
        let mut spare = (down * wide).saturating_sub(over);
        for width in widths.iter_mut().filter(|width| **width == widest) {
            let kept = usize::from(spare > 0);
            spare -= kept;
            *width -= down - kept;
        }
    }
}

/// The text, or its beginning with an ellipsis if it has more characters than `room`.
pub(crate) fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(room.saturating_sub(1)).collect();
    if room > 0 {
        short.push('…');
    }
    short
}

/// What is shown of a cell: something, on one line.
fn shown(text: &str) -> String {
    match clean(text) {
        empty if empty.is_empty() => "-".to_owned(),
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_an_empty_cell_is_a_dash() {
        let mut table = Table::new(["a", "b", "c"]);
        let plain = |text: &str| (text.to_owned(), Tone::Plain);
        table.row([plain("x"), plain(""), plain("last\nline")]);
        table.row([plain("longer"), plain("y"), plain("z")]);
        assert_eq!(
            table.render(Paint::new(false)),
            "A       B  C\nx       -  last line\nlonger  y  z\n"
        );
    }

    fn plan() -> Table {
        let plain = |text: &str| (text.to_owned(), Tone::Plain);
        let mut table = Table::new(["step", "after", "limit", "undo"]);
        table.row([
            plain("stop:web@web1"),
            plain("check shop-database-primary.answers-from-every-consumer on web1"),
            plain("1m 30s"),
            plain("start"),
        ]);
        table
    }

    #[test]
    fn what_names_a_check_is_whole_where_there_is_room_and_in_a_pipe() {
        for width in [None, Some(200), Some(93)] {
            let text = plan().render(Paint::new(false).within(width));
            let check =
                "check shop-database-primary.answers-from-every-consumer on web1  1m 30s  start\n";
            assert!(text.contains(check), "{width:?}: {text}");
        }
    }

    #[test]
    fn on_a_narrow_terminal_the_widest_column_gives_way_and_none_is_lost() {
        for width in 40..93 {
            let text = plan().render(Paint::new(false).within(Some(width)));
            let row = text.lines().nth(1).unwrap();
            assert!(row.contains("…  1m 30s  start"), "{width}: {text}");
            assert!(row.starts_with("stop:"), "{text}");
            assert!(
                text.lines().all(|line| line.chars().count() <= width),
                "{width}: {text}"
            );
        }
        // Too narrow even for the beginnings: that something is missing is seen.
        for width in 1..40 {
            let text = plan().render(Paint::new(false).within(Some(width)));
            assert!(
                text.lines().nth(1).unwrap().contains('…'),
                "{width}: {text}"
            );
        }
    }

    #[test]
    fn what_is_cut_ends_in_an_ellipsis() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("abc", 0), "");
    }
}
