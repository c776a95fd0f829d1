//! Text for people that travels: one line, of bounded length.

use interlock_model::check::MAX_EVIDENCE;

/// One line of at most [`MAX_EVIDENCE`] bytes without control characters.
pub(crate) fn line(text: &str) -> String {
    const CUT: &str = "...";
    let mut line = String::with_capacity(text.len().min(MAX_EVIDENCE));
    for c in text.trim().chars() {
        let c = if c.is_control() { ' ' } else { c };
        if line.len() + c.len_utf8() > MAX_EVIDENCE - CUT.len() {
            line.push_str(CUT);
            break;
        }
        line.push(c);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_one_short_line_without_breaking_a_character() {
        assert_eq!(line(" a\nb\t"), "a b");
        let long = line(&"\u{fc}".repeat(400));
        assert!(
            long.len() <= MAX_EVIDENCE && long.ends_with("..."),
            "{long}"
        );
    }
}
