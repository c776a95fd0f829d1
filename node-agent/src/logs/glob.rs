//! Globs: which files a log consists of.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// An absolute path whose components may have `*` (any text) and `?` (one character), such as `/var/log/nginx/*.log`.
///
/// A wildcard stands for no `/`, and not for a dot at the beginning of a name. The directories before the first component
/// with a wildcard are the **root**: it is opened as the machine has it, since whoever wrote the file meant it. Below it
/// no link is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    root: PathBuf,
    rest: Vec<String>,
}

/// A text is no glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadGlob {
    /// It does not begin with `/`, or names no file.
    #[error("'{0}' is not an absolute path of files: begin it with '/' and end it with a name")]
    NotAbsolute(String),
    /// It has `..` or something that other programs take for a wildcard.
    #[error(
        "'{text}' has '{what}', which has no meaning here: write the directories out, with * and ? in names"
    )]
    NoMeaning {
        /// The text.
        text: String,
        /// What of it.
        what: &'static str,
    },
}

impl Glob {
    /// Exactly the files of this directory that have this name, with wildcards.
    pub(super) fn below(root: PathBuf, name: String) -> Self {
        Self {
            root,
            rest: vec![name],
        }
    }

    /// The directory that everything is below.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The components below the root; at least one.
    pub(super) fn rest(&self) -> &[String] {
        &self.rest
    }

    /// Can this path below the root be meant?
    pub(super) fn matches(&self, names: &[&str]) -> bool {
        names.len() == self.rest.len()
            && names
                .iter()
                .zip(&self.rest)
                .all(|(name, pattern)| is_like(name, pattern))
    }
}

/// Does this component stand for more than itself?
pub(super) fn is_wild(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

/// Is this name one that the component means?
pub(super) fn is_like(name: &str, pattern: &str) -> bool {
    if is_wild(pattern) && name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (name, pattern): (Vec<char>, Vec<char>) =
        (name.chars().collect(), pattern.chars().collect());
    let (mut at, mut in_pattern) = (0, 0);
    // Where the last star is, and what it stands for so far: at most one way back.
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(in_pattern) {
            Some('*') => {
                star = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(c) if *c == '?' || *c == name[at] => {
                at += 1;
                in_pattern += 1;
            }
            Some(_) | None => match star {
                Some((of, stands)) => {
                    star = Some((of, stands + 1));
                    at = stands + 1;
                    in_pattern = of + 1;
                }
                None => return false,
            },
        }
    }
    pattern[in_pattern..].iter().all(|c| *c == '*')
}

impl FromStr for Glob {
    type Err = BadGlob;

    fn from_str(text: &str) -> Result<Self, BadGlob> {
        let not_absolute = || BadGlob::NotAbsolute(text.to_owned());
        if !text.starts_with('/') || text.ends_with('/') {
            return Err(not_absolute());
        }
        for what in ["**", "[", "]", "{", "}"] {
            if text.contains(what) {
                let text = text.to_owned();
                return Err(BadGlob::NoMeaning { text, what });
            }
        }
        let mut names = Vec::new();
        for component in Path::new(text).components() {
            match component {
                Component::Normal(name) => names.extend(name.to_str().map(str::to_owned)),
                Component::ParentDir => {
                    let text = text.to_owned();
                    return Err(BadGlob::NoMeaning { text, what: ".." });
                }
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        let plain = names.iter().take_while(|name| !is_wild(name)).count();
        // The last one is a file also without a wildcard.
        let rest = names.split_off(plain.min(names.len().saturating_sub(1)));
        if rest.is_empty() {
            return Err(not_absolute());
        }
        let mut root = PathBuf::from("/");
        root.extend(names);
        Ok(Self { root, rest })
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root.join(self.rest.join("/")).display())
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_any_text_of_one_name() {
        for (name, pattern, expected) in [
            ("access.log", "*.log", true),
            ("access.log.1", "*.log", false),
            ("access.log.1", "*.log*", true),
            ("a.b.log", "*.b.*", true),
            ("aXbXc", "a*b*c", true),
            ("abab", "*ab", true),
            ("app1", "app?", true),
            ("app", "app?", false),
            ("", "*", true),
            (".secret", "*", false),
            (".secret", ".s*", true),
            ("x", "x", true),
            ("*", "x", false),
            ("größe.log", "gr??e.log", true),
        ] {
            assert_eq!(is_like(name, pattern), expected, "{name} {pattern}");
        }
    }

    #[test]
    fn the_root_ends_before_the_first_wildcard_and_before_the_file() {
        for (text, root, rest) in [
            ("/var/log/nginx/*.log", "/var/log/nginx", "*.log"),
            ("/srv/*/log/app.log", "/srv", "*/log/app.log"),
            ("/var/log/app.log", "/var/log", "app.log"),
            ("/x", "/", "x"),
        ] {
            let glob: Glob = text.parse().unwrap();
            assert_eq!(
                (glob.root(), glob.rest.join("/").as_str()),
                (Path::new(root), rest)
            );
            assert_eq!(glob.to_string(), text);
        }
    }

    #[test]
    fn what_could_mean_more_than_it_says_is_refused() {
        for bad in [
            "",
            "log",
            "/",
            "/var/log/",
            "/var/**/x",
            "/a/../b",
            "/a/[ab].log",
            "/a/{b}",
        ] {
            assert!(bad.parse::<Glob>().is_err(), "{bad}");
        }
    }
}
