//! Making the result of one run.

use interlock_model::check::{MAX_EVIDENCE, ProbeResult, Verdict};

/// As expected.
pub(super) fn ok(evidence: impl AsRef<str>) -> ProbeResult {
    result(Verdict::Ok, evidence.as_ref())
}

/// Definitely not as expected: something answered, and not with what was wanted.
pub(super) fn bad(evidence: impl AsRef<str>) -> ProbeResult {
    result(Verdict::Bad, evidence.as_ref())
}

/// Nothing is known: no answer, or the probe itself could not be made.
pub(super) fn unknown(evidence: impl AsRef<str>) -> ProbeResult {
    result(Verdict::Unknown, evidence.as_ref())
}

pub(super) fn result(verdict: Verdict, evidence: &str) -> ProbeResult {
    ProbeResult {
        verdict,
        evidence: line(evidence),
        value: None,
        paused: false,
    }
}

/// One line of at most [`MAX_EVIDENCE`] bytes without control characters.
pub(super) fn line(text: &str) -> String {
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
    fn evidence_is_one_short_line_whatever_was_seen() {
        assert_eq!(line("  a\nb\u{1b}[0m\t "), "a b [0m");
        let long = line(&"ü".repeat(1000));
        assert!(
            long.len() <= MAX_EVIDENCE && long.ends_with("ü..."),
            "{long}"
        );
    }
}
