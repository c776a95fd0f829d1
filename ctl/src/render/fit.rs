//! A text on a terminal that is too small for it.

use super::{Paint, Tone, width_and_height};

/// The beginning of the text, as many lines as the terminal shows above its cursor, and how many are missing. The whole
/// text where there is no terminal.
pub(crate) fn fit(text: &str, paint: Paint) -> String {
    width_and_height().map_or_else(
        || text.to_owned(),
        |(width, height)| fit_into(text, width, height, paint),
    )
}

fn fit_into(text: &str, width: usize, height: usize, paint: Paint) -> String {
    // The last line is the cursor's.
    let height = height.saturating_sub(1);
    let lines: Vec<&str> = text.lines().collect();
    let needed: usize = lines.iter().map(|line| rows(line, width)).sum();
    if needed <= height {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut taken = 0;
    let mut left = lines.len();
    for line in lines {
        taken += rows(line, width);
        // One line says what is missing.
        if taken + 1 > height {
            let free = (height + rows(line, width)).saturating_sub(taken + 1);
            if free > 0 {
                shown.push_str(&beginning(line, free * width));
                shown.push('\n');
            }
            break;
        }
        shown.push_str(line);
        shown.push('\n');
        left -= 1;
    }
    let missing = format!("… {left} more lines; interlockctl status shows all");
    let missing: String = missing.chars().take(width).collect();
    shown.push_str(&paint.tone(Tone::Faint, &missing));
    shown.push('\n');
    shown
}

/// The rows that a line takes: escape sequences (ECMA-48: from ESC to a letter) take no room.
fn rows(line: &str, width: usize) -> usize {
    let mut visible = 0_usize;
    let mut escape = false;
    for c in line.chars() {
        if escape {
            escape = !c.is_ascii_alphabetic();
        } else if c == '\u{1b}' {
            escape = true;
        } else {
            visible += 1;
        }
    }
    visible.div_ceil(width.max(1)).max(1)
}

/// The first visible characters of a line, with the escape sequences between them, and no colour that goes on behind it.
fn beginning(line: &str, visible: usize) -> String {
    let (mut text, mut count, mut escape, mut coloured) = (String::new(), 0, false, false);
    for c in line.chars() {
        if escape || c == '\u{1b}' {
            escape = !(escape && c.is_ascii_alphabetic());
            coloured = true;
        } else if count == visible {
            break;
        } else {
            count += 1;
        }
        text.push(c);
    }
    if coloured {
        text.push_str("\u{1b}[0m");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_left_alone() {
        assert_eq!(fit_into("a\nb\n", 80, 3, Paint::new(false)), "a\nb\n");
    }

    #[test]
    fn what_does_not_fit_ends_in_the_number_of_lines_that_are_missing() {
        assert_eq!(
            fit_into("a\nb\nc\nd\n", 80, 4, Paint::new(false)),
            "a\nb\n… 2 more lines; interlockctl status shows all\n"
        );
    }

    #[test]
    fn rows_that_are_free_show_the_beginning_of_what_does_not_fit() {
        let text = "a long first line\nb\n";
        let shown = fit_into(text, 6, 4, Paint::new(false));
        assert_eq!(shown, "a long first\n… 2 mo\n");
        let coloured = "\u{1b}[31ma long\u{1b}[0m first line\nb\n";
        let shown = fit_into(coloured, 6, 3, Paint::new(false));
        assert_eq!(shown, "\u{1b}[31ma long\u{1b}[0m\u{1b}[0m\n… 2 mo\n");
    }

    #[test]
    fn a_line_that_wraps_takes_more_rows_and_colours_take_none() {
        assert_eq!(rows("12345", 5), 1);
        assert_eq!(rows("123456", 5), 2);
        assert_eq!(rows("\u{1b}[32m12345\u{1b}[0m", 5), 1);
        assert_eq!(rows("", 5), 1);
    }
}
