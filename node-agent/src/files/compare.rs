//! How a file compares with what a plan would make it say, for people: what changes, and nothing that is secret.
//!
//! Who looks at a plan may read the new text, which has secrets by their names. Of what the file says now they see what everybody
//! on the machine may see, or more if the agent's own file permits it (`show`). Values of its secrets are shown by their names.
//! A line that goes where a secret comes may have an older value of it, and is never shown.

use std::time::{Duration, SystemTime};

use interlock_model::file::{Difference, MAX_TEXT, Text};
use interlock_model::names::LocalName;
use similar::{Algorithm, ChangeTag, DiffOp, TextDiff};

use super::note::Content;
use crate::config::ManagedFile;
use crate::power::Secret;
use crate::replace::Whose;

/// The most bytes of a comparison that are told.
const MOST: usize = 16 * 1024;

/// The longest line that is told whole, in characters.
const LINE: usize = 500;

/// How many lines that stay are shown around those that do not.
const AROUND: usize = 3;

/// How long the shortest comparison is looked for. Then any that is true is told.
const EFFORT: Duration = Duration::from_millis(200);

/// What stands for a line that may have an older value of a secret.
const UNSHOWN: &str = "(a line that is not shown: a secret comes into its place)";

/// How a file compares with what it shall be.
#[derive(Debug, Clone)]
pub(crate) struct Compared {
    /// It is that already.
    pub(crate) same: bool,
    /// When it became what it is; none if it is not there.
    pub(crate) changed: Option<SystemTime>,
    /// What becomes different.
    pub(crate) difference: Difference,
}

/// A file as it is, what it shall be, and what of that may be told.
#[derive(Debug)]
pub(super) struct Case<'c> {
    pub(super) name: &'c LocalName,
    pub(super) file: &'c ManagedFile,
    pub(super) now: Option<&'c Content>,
    pub(super) text: &'c Text,
    pub(super) wanted: &'c Content,
    /// The values of all secrets that may be in it, with their names; none if not all of them are known.
    pub(super) secrets: Option<&'c [(LocalName, Secret)]>,
}

impl Case<'_> {
    /// What becomes different.
    pub(super) fn difference(&self) -> Difference {
        let then = self.text.to_string();
        let Some(now) = self.now else {
            return Difference::Lines(format!("(it is not there yet)\n{}", lines("", &then, self)));
        };
        let mut shown = whose(now.whose, self.wanted.whose);
        if now.bytes == self.wanted.bytes {
            return Difference::Lines(shown);
        }
        let readable = now.whose.mode & 0o004 != 0;
        if !self.file.show.unwrap_or(readable) {
            let (name, mode) = (self.name, now.whose.mode);
            let how = match self.file.show {
                Some(_) => "the agent's file says so (`show`)".to_owned(),
                None => format!(
                    "not everybody may read it there (mode {mode:04o}); `show = true` in [file.{name}] of the agent's file has its \
                     lines shown"
                ),
            };
            return Difference::Hidden(how);
        }
        if now.bytes.len() > MAX_TEXT {
            let what = format!("it has {} bytes, more than {MAX_TEXT}", now.bytes.len());
            return Difference::Hidden(what);
        }
        let Some(secrets) = self.secrets else {
            let what = "a secret that it may have cannot be read on its node, so it might be shown";
            return Difference::Hidden(what.to_owned());
        };
        match std::str::from_utf8(&now.bytes) {
            Ok(now) => {
                shown.push_str(&lines(&masked(now, secrets), &then, self));
                Difference::Lines(shown)
            }
            Err(_) => Difference::Hidden("it is no text (UTF-8)".to_owned()),
        }
    }

    /// May a line that goes have a secret? Then it may have an older value, which nobody here knows, and which may still be in
    /// use: that is so right after it was changed.
    fn may_have_secrets(&self) -> bool {
        self.secrets.is_none_or(|secrets| !secrets.is_empty())
    }
}

/// What stands for the value of a secret, as in what a plan shows of its texts.
fn mark(name: &LocalName) -> String {
    format!("<secret {name}>")
}

/// The text with every secret by its name.
fn masked(text: &str, secrets: &[(LocalName, Secret)]) -> String {
    let mut values: Vec<(&str, String)> = secrets
        .iter()
        .map(|(name, secret)| (secret.expose(), mark(name)))
        .filter(|(value, _)| !value.is_empty())
        .collect();
    // Longest first, or the rest of a secret that begins with another one would remain.
    values.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    let replace = |text: String, (value, mark): (&str, String)| text.replace(value, &mark);
    values.into_iter().fold(text.to_owned(), replace)
}

/// In what owner and mode become different, as a line; nothing if in nothing.
fn whose(now: Whose, then: Whose) -> String {
    let mut changes = Vec::new();
    if (now.user, now.group) != (then.user, then.group) {
        changes.push(format!(
            "owner {}:{} becomes {}:{}",
            now.user, now.group, then.user, then.group
        ));
    }
    if now.mode != then.mode {
        changes.push(format!("mode {:04o} becomes {:04o}", now.mode, then.mode));
    }
    match changes.as_slice() {
        [] => String::new(),
        changes => format!("({})\n", changes.join(", ")),
    }
}

/// The lines that go and come, with some around them.
fn lines(now: &str, then: &str, case: &Case<'_>) -> String {
    let diff = TextDiff::configure()
        .algorithm(Algorithm::Myers)
        .timeout(EFFORT)
        .diff_lines(now, then);
    let mut told = String::new();
    let mut left = 0_usize;
    for group in diff.grouped_ops(AROUND) {
        let Some(head) = head(&group) else {
            continue;
        };
        let changes: Vec<_> = group.iter().flat_map(|op| diff.iter_changes(op)).collect();
        let shown = changes.iter().map(|change| {
            let line = change.value().trim_end_matches('\n');
            let line = match change.tag() {
                ChangeTag::Equal => format!(" {line}"),
                ChangeTag::Insert => format!("+{line}"),
                ChangeTag::Delete if case.may_have_secrets() => format!("-{UNSHOWN}"),
                ChangeTag::Delete => format!("-{line}"),
            };
            let end = if change.missing_newline() {
                "\n\\ No newline at end of file"
            } else {
                ""
            };
            format!("{}{end}", cut(line))
        });
        for line in std::iter::once(head).chain(shown) {
            if left > 0 || told.len() + line.len() > MOST {
                left += 1;
            } else {
                told.push_str(&line);
                told.push('\n');
            }
        }
    }
    if left > 0 {
        told.push_str(&format!("({left} lines more)\n"));
    }
    told
}

/// Where a group of lines stands, now and then: `@@ -1,4 +1,5 @@`.
fn head(group: &[DiffOp]) -> Option<String> {
    let (first, last) = (group.first()?, group.last()?);
    let place = |start: usize, end: usize| match end - start {
        // As diff(1) has it: behind the line before.
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        many => format!("{},{many}", start + 1),
    };
    Some(format!(
        "@@ -{} +{} @@",
        place(first.old_range().start, last.old_range().end),
        place(first.new_range().start, last.new_range().end)
    ))
}

fn cut(line: String) -> String {
    match line.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use interlock_model::file::Piece;

    use super::*;

    const OPEN: Whose = Whose {
        user: 7,
        group: 7,
        mode: 0o644,
    };

    fn text(pieces: &[(&str, bool)]) -> Text {
        let piece = |(text, secret): &(&str, bool)| match secret {
            true => Piece::Secret(text.parse().unwrap()),
            false => Piece::Plain((*text).to_owned()),
        };
        Text {
            pieces: pieces.iter().map(piece).collect(),
        }
    }

    /// What is told of a file that says this, with this mode, and shall say that. The secret `db` is `hunter2`.
    fn told(now: &str, mode: u32, show: Option<bool>, then: &Text) -> Difference {
        let secrets = [("db".parse().unwrap(), Secret::new("hunter2"))];
        let secrets = match then.secrets().next() {
            Some(_) => &secrets[..],
            None => &[],
        };
        let bytes = then.to_string().replace("<secret db>", "hunter2");
        let content = |text: &str| Content {
            bytes: text.as_bytes().to_vec(),
            whose: Whose { mode, ..OPEN },
        };
        Case {
            name: &"app".parse().unwrap(),
            file: &ManagedFile {
                path: PathBuf::from("/etc/app"),
                owner: None,
                mode: None,
                check: None,
                secrets: Vec::new(),
                show,
            },
            now: Some(&content(now)),
            text: then,
            wanted: &content(&bytes),
            secrets: Some(secrets),
        }
        .difference()
    }

    #[test]
    fn lines_that_go_and_come_are_shown_with_some_around_them() {
        let then = text(&[("a\nb\nc\nd\ne\nF\ng", false)]);
        let lines = told("a\nb\nc\nd\ne\nf\ng\n", 0o644, None, &then);
        let expected =
            "@@ -3,5 +3,5 @@\n c\n d\n e\n-f\n-g\n+F\n+g\n\\ No newline at end of file\n";
        assert_eq!(lines, Difference::Lines(expected.to_owned()));
    }

    #[test]
    fn what_not_everybody_may_read_is_shown_if_the_agents_own_file_says_so() {
        let then = text(&[("b\n", false)]);
        let Difference::Hidden(why) = told("a\n", 0o640, None, &then) else {
            panic!("it is shown");
        };
        assert!(why.contains("0640") && why.contains("[file.app]"), "{why}");
        let shown = Difference::Lines("@@ -1 +1 @@\n-a\n+b\n".to_owned());
        assert_eq!(told("a\n", 0o640, Some(true), &then), shown);
        assert_eq!(told("a\n", 0o644, None, &then), shown);
        assert!(matches!(
            told("a\n", 0o644, Some(false), &then),
            Difference::Hidden(_)
        ));
    }

    #[test]
    fn no_value_of_a_secret_is_shown_neither_the_one_of_now_nor_an_older_one() {
        let then = text(&[
            ("user = b\npassword = ", false),
            ("db", true),
            ("\n", false),
        ]);
        for now in [
            "user = a\npassword = hunter2\n",
            "user = a\npassword = hunter1\n",
            // An older one that begins like the one of now, and one beside it.
            "user = a\npassword = hunter2hunter\n",
            "user = a\npassword = hunter2:hunter\n",
        ] {
            let Difference::Lines(lines) = told(now, 0o640, Some(true), &then) else {
                panic!("it is hidden");
            };
            assert!(!lines.contains("hunter"), "{lines}");
            assert!(lines.contains("password = <secret db>"), "{lines}");
        }
    }

    #[test]
    fn what_is_told_has_a_bound() {
        let many: String = (0..5000).map(|number| format!("{number}\n")).collect();
        let Difference::Lines(lines) = told("", 0o644, None, &text(&[(&many, false)])) else {
            panic!("it is hidden");
        };
        assert!(lines.len() < MOST + 100, "{}", lines.len());
        assert!(lines.ends_with("lines more)\n"), "{lines}");
        let long = "x".repeat(10_000);
        let Difference::Lines(lines) = told("", 0o644, None, &text(&[(&long, false)])) else {
            panic!("it is hidden");
        };
        assert!(lines.len() < 2 * LINE, "{}", lines.len());
    }

    #[test]
    fn another_owner_or_mode_is_a_difference() {
        let (other, all) = (
            Whose { user: 8, ..OPEN },
            Whose {
                mode: 0o600,
                ..OPEN
            },
        );
        assert_eq!(whose(OPEN, OPEN), "");
        assert_eq!(whose(OPEN, other), "(owner 7:7 becomes 8:7)\n");
        assert_eq!(whose(OPEN, all), "(mode 0644 becomes 0600)\n");
    }
}
