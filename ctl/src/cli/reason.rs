//! Why something is done: a line that is kept in journals, events and ledgers.

/// The longest reason, in bytes: what an agent accepts for an act by hand.
const MAX_REASON: usize = 300;

/// A reason that may be left out.
pub(super) fn optional(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.len() > MAX_REASON {
        return Err(format!(
            "a reason has at most {MAX_REASON} bytes, and this one has {}",
            text.len()
        ));
    }
    Ok(text.to_owned())
}

/// A reason that says something.
pub(super) fn given(text: &str) -> Result<String, String> {
    match optional(text)? {
        text if text.is_empty() => Err("say why; it is kept".to_owned()),
        text => Ok(text),
    }
}
