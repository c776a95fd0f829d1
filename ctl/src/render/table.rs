//! Tables without lines: columns as wide as their widest cell, so that `awk` can read them too.

use super::{Paint, Tone, clean, width_and_height};

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

    /// The text, cut at the terminal's width if there is one.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let limit = width_and_height().map_or(usize::MAX, |(width, _)| width);
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
        let room = limit.saturating_sub(at);
        let shown = cut(cell, room);
        text.push_str(&paint.tone(tone, &shown));
        if index < last {
            let gap = (width - cell.chars().count().min(*width)) + 2;
            text.push_str(&" ".repeat(gap.min(room)));
            at += width + 2;
        }
    }
    format!("{}\n", text.trim_end())
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

    #[test]
    fn what_is_cut_ends_in_an_ellipsis() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("abc", 0), "");
    }
}
