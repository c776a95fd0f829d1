//! When a watchdog device is armed, and what follows where it cannot be.

use super::*;

/// Told at 1000, with a first acknowledgement at 1010, on a node that may not be without a watchdog.
fn marking_with_a_watchdog(armed: bool) -> (Holder, Vec<Effect>) {
    let config = Config {
        watchdog: Watchdog::Required,
        ..config()
    };
    let (mut holder, _) = Holder::start(config, Facts::default(), None, Found::Standby, at(0));
    let number = claiming(&mut holder, &demote(), 1000);
    let marks = holder.handle(answer(number, &demote()), at(1010));
    assert!(
        marks.contains(&Effect::Arm(demote().timings.watchdog())),
        "{marks:?}"
    );
    holder.handle(Event::Armed(armed), at(1011));
    let marked = holder.handle(Event::Committed(2), at(1020));
    (holder, marked)
}

#[test]
fn where_a_watchdog_is_required_nothing_is_promoted_before_one_is_armed() {
    let (_, promotes) = marking_with_a_watchdog(true);
    assert!(
        promotes.iter().any(|it| matches!(it, Effect::Promote(_))),
        "{promotes:?}"
    );

    let (mut holder, gives_back) = marking_with_a_watchdog(false);
    let promotes = |it: &Effect| matches!(it, Effect::Promote(_));
    assert!(!gives_back.iter().any(promotes), "{gives_back:?}");
    let told = holder.handle(Event::Committed(3), at(1030));
    assert_eq!(begun(&told), Some(false), "{told:?}");
    assert!(holder.facts().mark.is_none(), "it was never primary");
}

#[test]
fn a_primary_that_loses_its_required_watchdog_gives_its_role_back() {
    let (mut holder, _) = marking_with_a_watchdog(true);
    holder.handle(Event::Promoted, at(1100));
    let gives_back = holder.handle(Event::Armed(false), at(1110));
    assert!(gives_back.contains(&Effect::Stop), "{gives_back:?}");

    let mut automatic = primary(&demote());
    automatic.handle(Event::Armed(true), at(1110));
    let goes_on = automatic.handle(Event::Armed(false), at(1120));
    assert!(!goes_on.contains(&Effect::Stop), "{goes_on:?}");
}

#[test]
fn a_watchdog_is_armed_by_a_young_acknowledgement_alone_for_to_open_it_pets_it() {
    let holder = primary(&demote());
    let kept = holder.tenure().cloned();
    let arms = |it: &Effect| matches!(it, Effect::Arm(_));
    let age = |millis: u64| 1001 + millis;
    let (_, young) = started(
        holder.facts().clone(),
        kept.clone(),
        Found::Primary,
        age(1099),
    );
    assert!(young.iter().any(arms), "{young:?}");
    let (mut old, effects) = started(holder.facts().clone(), kept, Found::Primary, age(1100));
    assert!(!effects.iter().any(arms), "{effects:?}");
    let renewal = sent(&old.handle(Event::Tick, at(age(1101)))).expect("a renewal");
    let renewed = old.handle(answer(renewal, &demote()), at(age(1110)));
    assert!(renewed.iter().any(arms), "{renewed:?}");
    let again = sent(&old.handle(Event::Tick, at(age(1400)))).expect("a renewal");
    let tried = old.handle(answer(again, &demote()), at(age(1410)));
    assert!(!tried.iter().any(arms), "it is tried once: {tried:?}");

    let (mut late, _) = started(Facts::default(), None, Found::Standby, 0);
    let number = claiming(&mut late, &demote(), 1000);
    let ignored = late.handle(answer(number, &demote()), at(age(1100)));
    assert!(!ignored.iter().any(arms), "{ignored:?}");
    assert!(late.tenure().is_none(), "the next one may be younger");
}

#[test]
fn a_renewal_that_brings_other_timings_promises_no_watchdog_which_may_not_suit_them() {
    let claims = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Renew { request, .. } => Some(request.safeguards.watchdog),
            _ => None,
        })
    };
    let (mut holder, _) = marking_with_a_watchdog(true);
    holder.handle(Event::Promoted, at(1100));
    let before = holder.handle(Event::Tick, at(1300));
    assert_eq!(claims(&before), Some(true), "{before:?}");
    let number = sent(&before).expect("a renewal");
    holder.handle(answer(number, &demote()), at(1310));
    let slower = terms(ControlLoss::Demote, Profile::Conservative);
    holder.handle(Event::Propose(slower.clone()), at(1500));
    let brings = holder.handle(Event::Tick, at(1600));
    assert_eq!(claims(&brings), Some(false), "{brings:?}");
    holder.handle(Event::Armed(true), at(1601));
    let number = sent(&brings).expect("a renewal");
    holder.handle(answer(number, &slower), at(1610));
    let then = holder.handle(Event::Tick, at(2700));
    assert_eq!(claims(&then), Some(true), "{then:?}");
}
