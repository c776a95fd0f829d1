//! Starting, stopping and verifying a whole instance: parts downwards, parts upwards.

use std::time::Duration;

use interlock_model::action::Part;

use super::errand::{Errand, Trouble};
use super::managers::Managers;
use super::seen::Seen;
use crate::session::Halt;

/// Starts what does not run, in the order of the parts, and proves that all of it runs.
pub(super) async fn start(
    managers: &Managers,
    parts: &[Part],
    errand: &Errand<'_>,
) -> Result<String, Trouble> {
    not_empty(parts)?;
    let mut evidence = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let seen = managers.look(part).await;
        let text = if seen.is_running() {
            format!("already {}", seen.text())
        } else if errand.is_handed_over() {
            return Err(Trouble::Failed(format!(
                "{} before {part} was begun",
                Halt::HandedOver
            )));
        } else {
            let begun = managers.clock.mono();
            let up = managers
                .bring_up(part, index, errand)
                .await
                .map_err(|trouble| named(parts, part, trouble))?;
            // Of what may have been there all the time a start says nothing.
            if seen.state.is_down() {
                managers.has_started(part, begun);
            }
            up
        };
        evidence.push(label(parts, part, &text));
    }
    // The first part may have died while the last one started.
    if parts.len() > 1 {
        for part in parts {
            let seen = managers.look(part).await;
            if !seen.is_running() {
                let text = format!("{} after all parts were started", seen.text());
                return Err(Trouble::unknown(
                    label(parts, part, &text),
                    managers.is_repeatable(part),
                ));
            }
        }
    }
    Ok(evidence.join("; "))
}

/// Stops what is not down, in the reverse order of the parts.
pub(super) async fn stop(
    managers: &Managers,
    parts: &[Part],
    errand: &Errand<'_>,
) -> Result<String, Trouble> {
    not_empty(parts)?;
    let mut evidence = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate().rev() {
        let down = match part {
            // Its stop is asked for whatever it seems to be: a monitor that hangs shall not delay it.
            Part::Ocf(_) => None,
            Part::Process { .. }
            | Part::Systemd { .. }
            | Part::Exec { .. }
            | Part::Address(_)
            | Part::Postgres(_)
            | Part::Redis(_)
            | Part::Mariadb(_) => {
                Some(managers.look(part).await).filter(|seen| seen.state.is_down())
            }
        };
        let text = if let Some(seen) = down {
            format!("already {}", seen.text())
        } else {
            managers
                .take_down(part, index, errand)
                .await
                .map_err(|trouble| named(parts, part, trouble))?
        };
        evidence.push(label(parts, part, &text));
    }
    Ok(evidence.join("; "))
}

/// Makes sure that the instance runs, and has been started after `accepted`: what came up with its machine may have
/// come up before what it needs.
pub(super) async fn verify(
    managers: &Managers,
    parts: &[Part],
    accepted: Duration,
    errand: &Errand<'_>,
) -> Result<String, Trouble> {
    let mut old = None;
    for (index, part) in parts.iter().enumerate() {
        let seen = managers.look(part).await;
        if !seen.state.is_down()
            && !is_since(&seen, accepted)
            && !managers.was_brought_up(part, index, errand).await
        {
            old = Some(label(parts, part, &format!("was {}", seen.text())));
            break;
        }
    }
    let Some(old) = old else {
        return start(managers, parts, errand).await;
    };
    stop(managers, parts, errand).await?;
    let evidence = start(managers, parts, errand).await?;
    Ok(format!("restarted ({old}): {evidence}"))
}

/// Runs it since after this moment? What cannot be told is no.
fn is_since(seen: &Seen, moment: Duration) -> bool {
    seen.since_boot.is_some_and(|since| since > moment)
}

fn label(parts: &[Part], part: &Part, text: &str) -> String {
    if parts.len() > 1 {
        format!("{part}: {text}")
    } else {
        text.to_owned()
    }
}

fn named(parts: &[Part], part: &Part, trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Failed(evidence) => Trouble::Failed(label(parts, part, &evidence)),
        Trouble::Unknown {
            evidence,
            repeatable,
        } => Trouble::Unknown {
            evidence: label(parts, part, &evidence),
            repeatable,
        },
    }
}

/// Nothing can be proven of nothing.
fn not_empty(parts: &[Part]) -> Result<(), Trouble> {
    if parts.is_empty() {
        Err(Trouble::Failed(
            "the instance has no parts on this node".to_owned(),
        ))
    } else {
        Ok(())
    }
}
