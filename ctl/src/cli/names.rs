//! Several names, as people write them.

use std::fmt::Display;
use std::str::FromStr;

use interlock_model::spec::expand;

/// Names in one word of the command line: with commas between them, and in ranges as in a spec. `db1,jb[1-3,7]` is five.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names<T>(Vec<T>);

impl<T: Clone> Names<T> {
    /// One name.
    pub(crate) fn one(name: T) -> Self {
        Self(vec![name])
    }

    /// All the names of several words, in order.
    pub(crate) fn all(words: &[Self]) -> impl Iterator<Item = T> + '_ {
        words.iter().flat_map(|names| names.0.iter().cloned())
    }
}

impl<T: FromStr<Err: Display>> FromStr for Names<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut names = Vec::new();
        for word in words(text) {
            let several = expand(word).map_err(|error| format!("'{word}' is no range: {error}"))?;
            for name in several {
                names.push(name.parse().map_err(|error: T::Err| error.to_string())?);
            }
        }
        Ok(Self(names))
    }
}

/// What stands between commas; those in the brackets of a range are its own.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.split(move |c| {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ => {}
        }
        c == ',' && !inside
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_with_commas_and_as_ranges() {
        let names = |text: &str| text.parse::<Names<String>>().map(|names| names.0);
        assert_eq!(names("db1").unwrap(), ["db1"]);
        assert_eq!(
            names("db1,jb[1-2,7],web[08-09]").unwrap(),
            ["db1", "jb1", "jb2", "jb7", "web08", "web09"]
        );
        assert_eq!(
            names("jb[2-1]").unwrap_err(),
            "'jb[2-1]' is no range: it counts down from 2 to 1"
        );
        assert!(names("db1,jb[1").unwrap_err().contains("not closed"));
    }
}
