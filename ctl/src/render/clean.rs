//! Text from elsewhere, made harmless for a terminal.
//!
//! Reasons, evidence, names and messages come from other people and machines. A terminal obeys control characters
//! (ECMA-48), and shows text in an order that its direction marks set (Unicode, UAX 9), so whatever was not written
//! here passes through this before it is printed for people. Values for programs are left as they are: JSON and YAML
//! have escapes of their own.

/// The text on one line.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(harmless).collect()
}

/// The text with its lines.
pub(crate) fn clean_lines(text: &str) -> String {
    let keep = |c| if c == '\n' { c } else { harmless(c) };
    text.chars().map(keep).collect()
}

/// The character, or what stands for one that is not only shown.
fn harmless(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let nasty = "a\u{1b}[2Jb\r\nc\u{9b}31md\u{7f}\u{202e}e\u{7}";
        assert_eq!(
            clean(nasty),
            "a\u{fffd}[2Jb  c\u{fffd}31md\u{fffd}\u{fffd}e\u{fffd}"
        );
        assert_eq!(clean_lines("a\nb\u{1b}c\n"), "a\nb\u{fffd}c\n");
    }

    #[test]
    fn what_is_only_shown_stays() {
        let text = "Grüße, 日本語 – ✓ …";
        assert_eq!(clean(text), text);
    }
}
