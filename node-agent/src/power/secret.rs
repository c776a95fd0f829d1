//! A value that must not be seen.

use std::fmt;

/// A password, key or token, already resolved. It never shows itself: `Debug` prints a placeholder and there is no
/// `Display` (invariant I12).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that hands it to the program that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The text with every occurrence of every secret replaced.
///
/// Exact occurrences only: a program that prints a secret re-encoded (quoted, base64) defeats this, which is why
/// what is reported is also short.
pub(crate) fn redact<'s>(text: &str, secrets: impl Iterator<Item = &'s Secret>) -> String {
    let mut values: Vec<&str> = secrets
        .map(Secret::expose)
        .filter(|value| !value.is_empty())
        .collect();
    // Longest first, or the rest of a secret that begins with another one would remain.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values.iter().fold(text.to_owned(), |text, value| {
        text.replace(value, "[secret]")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(
            format!("{:?}", Some(Secret::new("hunter2"))),
            "Some(Secret(..))"
        );
    }

    #[test]
    fn secrets_are_replaced_even_if_one_begins_with_another() {
        let secrets = [Secret::new("abc"), Secret::new("abcdef"), Secret::new("")];
        assert_eq!(
            redact("x abcdef y abc z", secrets.iter()),
            "x [secret] y [secret] z"
        );
    }
}
