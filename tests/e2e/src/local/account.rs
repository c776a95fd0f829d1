//! Holding the programs' account of an operation against what happened.

use anyhow::{Context as _, Result, ensure};

use super::{Line, Operator};

/// Checks that a startup has started each of these instances once, each group after the one before was up, and that
/// its journal proves each step once. `story` is what happened since the operation began.
///
/// # Errors
/// It has not; says which instance.
pub fn started_in_order(story: &[Line], groups: &[&[&str]]) -> Result<()> {
    in_order(story, groups.iter(), "start", "up")
}

/// As [`started_in_order`], for a shutdown: in the reverse, each group after the one before has ended.
///
/// # Errors
/// It has not; says which instance.
pub fn stopped_in_order(story: &[Line], groups: &[&[&str]]) -> Result<()> {
    in_order(story, groups.iter().rev(), "term", "stop")
}

fn in_order<'a>(
    story: &[Line],
    groups: impl Iterator<Item = &'a &'a [&'a str]>,
    begin: &str,
    end: &str,
) -> Result<()> {
    let mut before = 0;
    let mut expected = 0;
    for group in groups {
        let mut ended = before;
        for who in *group {
            let begun = once(story, begin, who)?;
            ensure!(
                begun >= before,
                "{begin} of {who} came before what is to be before it: {story:#?}"
            );
            ended = ended.max(once(story, end, who)?);
            expected += 2;
        }
        before = ended;
    }
    let happened = story
        .iter()
        .filter(|line| line.what == begin || line.what == end)
        .count();
    ensure!(
        happened == expected,
        "{happened} things happened instead of {expected}: {story:#?}"
    );
    Ok(())
}

/// When it happened, if it happened once.
fn once(story: &[Line], what: &str, who: &str) -> Result<u64> {
    let mut lines = story
        .iter()
        .filter(|line| line.what == what && line.who == who);
    let at = lines
        .next()
        .with_context(|| format!("no '{what}' of {who}: {story:#?}"))?
        .at;
    ensure!(
        lines.next().is_none(),
        "'{what}' of {who} happened more than once: {story:#?}"
    );
    Ok(at)
}

/// Checks that the journal of an operation that is done proves each step once, or has a person's word for it once.
///
/// # Errors
/// It does not; says which step.
pub fn proven_once(operator: &Operator, operation: &str) -> Result<()> {
    let journal = operator.journal(operation)?;
    for step in operator.operation(operation)?.steps {
        let proofs = journal
            .iter()
            .filter(|entry| {
                let is_persons = step.step.starts_with("approve:");
                let what = if is_persons { "approved" } else { "proven" };
                entry.what == what && entry.step == step.step
            })
            .count();
        ensure!(
            proofs == 1,
            "{} is proven {proofs} times in {operation}: {journal:#?}",
            step.step
        );
        ensure!(step.state == "done", "{} is {}", step.step, step.state);
    }
    Ok(())
}
