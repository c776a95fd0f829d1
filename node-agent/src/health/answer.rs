//! What is answered: yes, or why not.

use std::time::Duration;

use interlock_engine::lease::Clock;
use interlock_model::lease::{Terms, Timings};
use interlock_model::observation::Side;

use super::STALE;
use super::question::{Asked, Limit, Question};
use crate::roles::{Following, Looked, Sign};

/// Answers a question by what was last said of the role, and by the clocks as they are now.
pub(super) fn answer(question: &Question, sign: Option<&Sign>, now: Clock) -> Result<(), String> {
    let Some(sign) = sign else {
        return Err("no role of it is kept on this node".to_owned());
    };
    match question.asked {
        Asked::Primary => is_primary(sign, now),
        Asked::Replica => is_replica(question, sign, now),
        // Whether it must stream is in the question.
        Asked::ReadOnly | Asked::Readiness => match sign.side {
            Side::Primary => is_primary(sign, now),
            Side::Standby | Side::Changing | Side::Unknown => is_replica(question, sign, now),
        },
        Asked::Health => match sign.side {
            Side::Primary => has_all(sign, now),
            Side::Standby | Side::Changing | Side::Unknown => runs_as_standby(sign, now).map(drop),
        },
        Asked::Liveness => has_turns(sign, now),
    }
}

/// It holds the lease, all that belongs to it runs, and enough of it is left.
fn is_primary(sign: &Sign, now: Clock) -> Result<(), String> {
    if sign.side != Side::Primary {
        return Err(format!("it is {}", sign.side));
    }
    has_all(sign, now)?;
    match &sign.tenure {
        Some(tenure) if tenure.is_ample(now) => Ok(()),
        Some(tenure) => {
            let age = now.longest_since(tenure.renewed());
            Err(format!(
                "its lease was last renewed {} ms ago",
                age.as_millis()
            ))
        }
        None => Err("it has no lease".to_owned()),
    }
}

/// All that belongs to a primary is known to run.
fn has_all(sign: &Sign, now: Clock) -> Result<(), String> {
    let down = sign.down.as_ref();
    let looked = looked(sign, now)?;
    match down.or(looked.not_primary.as_ref()) {
        Some(why) => Err(why.clone()),
        None => Ok(()),
    }
}

fn looked(sign: &Sign, now: Clock) -> Result<&Looked, String> {
    let looked = sign.looked.as_ref();
    let fresh = looked.filter(|it| now.longest_since(it.at) < STALE);
    fresh.ok_or_else(|| "it was not looked at lately".to_owned())
}

/// It runs as a standby does. How its data follow is told, if it has any.
fn runs_as_standby(sign: &Sign, now: Clock) -> Result<Option<Following>, String> {
    if sign.side != Side::Standby {
        return Err(format!("it is {}", sign.side));
    }
    if let Some(why) = &sign.idle {
        return Err(why.clone());
    }
    let looked = looked(sign, now)?;
    match &looked.not_standby {
        Some(why) => Err(why.clone()),
        None => Ok(looked.following),
    }
}

fn is_replica(question: &Question, sign: &Sign, now: Clock) -> Result<(), String> {
    let following = runs_as_standby(sign, now)?;
    if question.tagged {
        return Err("it has no tags".to_owned());
    }
    if question.streaming && !following.is_some_and(|it| it.streaming) {
        return Err("it does not stream".to_owned());
    }
    question
        .limit
        .map_or(Ok(()), |limit| within(limit, following))
}

fn within(limit: Limit, following: Option<Following>) -> Result<(), String> {
    let behind = following.and_then(|it| match limit.applied {
        true => it.applied_behind,
        false => it.behind,
    });
    match behind {
        Some(behind) if behind <= limit.most => Ok(()),
        Some(behind) => Err(format!("it is {behind} B behind")),
        None => Err("how far it is behind is not known".to_owned()),
    }
}

/// Its thread had a turn within the life of its lease; without one, within twice the longest that is usual.
fn has_turns(sign: &Sign, now: Clock) -> Result<(), String> {
    let life = |terms: &Terms| terms.timings.life();
    let within: Duration = match (&sign.tenure, sign.side) {
        (Some(tenure), _) => life(tenure.terms()),
        (None, _) => Timings::default().life() * 2,
    };
    let gone = now.longest_since(sign.turned);
    if gone < within {
        return Ok(());
    }
    Err(format!(
        "who keeps its role had no turn for {} ms",
        gone.as_millis()
    ))
}
