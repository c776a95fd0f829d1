//! Text in lines of a width.

/// The text in lines of at most `width` characters, each after `indent` blanks. Lines end between words; a word that is
/// longer than a line is broken, so that nothing of it is lost.
pub(crate) fn wrap(text: &str, indent: usize, width: usize) -> Vec<String> {
    // A terminal of a few columns gets them all.
    let indent = if width > 2 * indent { indent } else { 0 };
    let room = (width - indent).max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut word: &str = word;
        let used = line.chars().count();
        if used > 0 && used + 1 + word.chars().count() > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        while let Some((at, _)) = word.char_indices().nth(room - line.chars().count()) {
            line.push_str(&word[..at]);
            word = &word[at..];
            lines.push(std::mem::take(&mut line));
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    let blanks = " ".repeat(indent);
    lines
        .into_iter()
        .map(|line| format!("{blanks}{line}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words() {
        assert_eq!(wrap("one two three", 2, 10), ["  one two", "  three"]);
        assert_eq!(wrap("", 2, 10), [""; 0]);
    }

    #[test]
    fn nothing_of_a_long_word_is_lost() {
        assert_eq!(wrap("a bcdefghij k", 0, 4), ["a", "bcde", "fghi", "j k"]);
        assert_eq!(wrap("äöüß", 0, 2), ["äö", "üß"]);
        assert_eq!(wrap("abc", 6, 3), ["abc"]);
    }
}
