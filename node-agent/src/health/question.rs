//! What is asked: a path, and parameters.
//!
//! The names are those of Patroni, so that what is set up for that works unchanged.

/// What is asked of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// May writers come?
    Primary,
    /// May readers come who can do without the newest?
    Replica,
    /// May readers come?
    ReadOnly,
    /// Does it work, whatever it is?
    Health,
    /// Does who keeps the role have its turns?
    Liveness,
    /// Is it the primary, or does it follow closely enough?
    Readiness,
}

/// How far behind a standby may be, and by what that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    /// In the unit of positions.
    pub(super) most: u64,
    /// By what readers see; otherwise by what is on disk.
    pub(super) applied: bool,
}

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) asked: Asked,
    pub(super) limit: Option<Limit>,
    /// Only one that streams.
    pub(super) streaming: bool,
    /// Only one with some tag.
    pub(super) tagged: bool,
}

/// It cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bad {
    /// There is nothing of this name.
    Path,
    /// A parameter is not understood; in words.
    Parameter(String),
}

impl Question {
    /// Reads a path and what follows its `?`.
    pub(super) fn read(path: &str, query: &str) -> Result<Self, Bad> {
        let asked = match path {
            "/" | "/primary" | "/read-write" | "/master" | "/leader" => Asked::Primary,
            "/replica" => Asked::Replica,
            "/read-only" => Asked::ReadOnly,
            "/health" => Asked::Health,
            "/liveness" => Asked::Liveness,
            "/readiness" => Asked::Readiness,
            _ => return Err(Bad::Path),
        };
        let (mut most, mut applied) = (None, asked == Asked::Readiness);
        let mut question = Self {
            asked,
            limit: None,
            streaming: asked == Asked::Readiness,
            tagged: false,
        };
        for parameter in query.split('&').filter(|it| !it.is_empty()) {
            let bad = |why: &str| Err(Bad::Parameter(format!("'{parameter}': {why}")));
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("lag", text) => match bytes(text) {
                    Some(bytes) => most = Some(bytes),
                    None => return bad("give an amount such as lag=10MB, or bytes"),
                },
                ("replication_state", "streaming") => question.streaming = true,
                ("replication_state", _) => return bad("only `streaming` can be asked for"),
                ("mode", "apply") => applied = true,
                ("mode", "write") => applied = false,
                ("mode", _) => return bad("give mode=apply or mode=write"),
                (name, _) if name.starts_with("tag_") => question.tagged = true,
                _ => return bad("there is no such parameter"),
            }
        }
        question.limit = most.map(|most| Limit { most, applied });
        Ok(question)
    }
}

/// As PostgreSQL has it: powers of 1024, whatever they are called.
fn bytes(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let shift = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_as_databases_write_it() {
        for (text, amount) in [
            ("0", 0),
            ("100", 100),
            ("16kB", 16 << 10),
            ("10MB", 10 << 20),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(bytes(text), Some(amount), "{text}");
        }
        for bad in ["", "MB", "-1", "10 MB", "10%20MB", "99999999TB"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said_to_be_so() {
        assert_eq!(Question::read("/standby-leader", ""), Err(Bad::Path));
        for query in ["lag=much", "lags=1MB", "replication_state=x", "mode=fast"] {
            let read = Question::read("/replica", query);
            assert!(matches!(read, Err(Bad::Parameter(_))), "{query}");
        }
    }

    #[test]
    fn a_limit_is_of_what_readers_see_only_where_that_is_said() {
        let limit = |path, query| Question::read(path, query).unwrap().limit;
        let of = |applied| {
            Some(Limit {
                most: 1 << 20,
                applied,
            })
        };
        assert_eq!(limit("/replica", "lag=1MB"), of(false));
        assert_eq!(limit("/readiness", "lag=1MB"), of(true));
        assert_eq!(limit("/readiness", "mode=write&lag=1MB"), of(false));
        assert_eq!(limit("/replica", "replication_state=streaming"), None);
    }
}
