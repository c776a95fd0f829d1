//! Rules of the holder's side, one by one. What they are for is found by the simulation; here is what each one says.

mod promises;
mod watchdog;

use std::time::Duration;

use interlock_model::ids::BootId;
use interlock_model::lease::{
    ControlLoss, Epoch, Holder as Member, Profile, Synchrony, Terms, Timings, VmPause,
};
use interlock_model::names::NodeName;

use super::{Clock, Config, Effect, Event, Facts, Found, Holder, Mark, Released, Tenure, Watchdog};

fn node(name: &str) -> NodeName {
    name.parse().expect("a name")
}

fn member(boot: &str) -> Member {
    Member {
        node: node("db1"),
        boot: BootId(boot.to_owned()),
    }
}

fn terms(on_control_loss: ControlLoss, profile: Profile) -> Terms {
    Terms {
        timings: Timings::of(profile),
        on_control_loss,
        vm_pause: VmPause::Accepted,
        members: ["db1", "db2"].map(node).into(),
        max_lag: 0,
    }
}

fn demote() -> Terms {
    terms(ControlLoss::Demote, Profile::Fast)
}

fn at(millis: u64) -> Clock {
    let both = Duration::from_millis(millis);
    Clock {
        boottime: both,
        raw: both,
    }
}

fn config() -> Config {
    Config {
        service: "pg".parse().expect("a name"),
        me: member("b1"),
        watchdog: Watchdog::Automatic,
        client_path: true,
        data: true,
    }
}

fn started(facts: Facts, kept: Option<Tenure>, found: Found, now: u64) -> (Holder, Vec<Effect>) {
    Holder::start(config(), facts, kept, found, at(now))
}

/// The number of the renewal among these effects.
fn sent(effects: &[Effect]) -> Option<Duration> {
    effects.iter().find_map(|effect| match effect {
        Effect::Renew { request, .. } => Some(request.sent),
        _ => None,
    })
}

fn stops(effects: &[Effect]) -> bool {
    let forced = |effect: &Effect| matches!(effect, Effect::ForceStop { .. });
    effects.iter().any(forced)
}

fn command(epoch: u64, terms: &Terms) -> Event {
    Event::Promote {
        epoch: Epoch(epoch),
        holder: member("b1"),
        terms: terms.clone(),
    }
}

fn answer(sent: Duration, terms: &Terms) -> Event {
    Event::Acknowledged {
        epoch: Epoch(1),
        sent,
        terms: terms.clone(),
    }
}

/// Told at `from`, durable one later, which is when it renews.
fn claiming(holder: &mut Holder, terms: &Terms, from: u64) -> Duration {
    let told = holder.handle(command(1, terms), at(from));
    assert_eq!(sent(&told), None, "its disk does not know the epoch yet");
    let renews = holder.handle(Event::Committed(1), at(from + 1));
    sent(&renews).expect("a renewal")
}

/// A primary whose last renewal was sent at 1001.
fn primary(terms: &Terms) -> Holder {
    primary_since(terms, 1000)
}

/// The same, told at `from`.
fn primary_since(terms: &Terms, from: u64) -> Holder {
    let (mut holder, _) = started(Facts::default(), None, Found::Standby, 0);
    let number = claiming(&mut holder, terms, from);
    holder.handle(answer(number, terms), at(from + 10));
    let promotes = holder.handle(Event::Committed(2), at(from + 20));
    assert!(matches!(promotes[..], [Effect::Promote(_)]), "{promotes:?}");
    holder.handle(Event::Promoted, at(from + 100));
    assert!(holder.is_primary());
    holder
}

/// The release among these effects, as it is told.
fn begun(effects: &[Effect]) -> Option<bool> {
    effects.iter().find_map(|effect| match effect {
        Effect::ReportRelease(report) => Some(report.began),
        _ => None,
    })
}

#[test]
fn a_promotion_without_effect_leaves_everything_as_it_was_before() {
    for (unwritten, promoted) in [(true, false), (false, false), (true, true)] {
        let (mut holder, _) = started(Facts::default(), None, Found::Standby, 0);
        let number = claiming(&mut holder, &demote(), 1000);
        holder.handle(answer(number, &demote()), at(1010));
        holder.handle(Event::Committed(2), at(1020));
        if promoted {
            holder.handle(Event::Promoted, at(1100));
            holder.handle(Event::Died { restart: false }, at(1200));
        } else {
            holder.handle(Event::PromotionFailed, at(1200));
        }
        if unwritten {
            holder.handle(Event::Unwritten, at(1210));
        }
        holder.handle(Event::Empty { position: None }, at(1220));
        let told = holder.handle(Event::Committed(3), at(1230));
        let nothing = unwritten && !promoted;
        assert_eq!(begun(&told), Some(!nothing));
        assert_eq!(holder.facts().mark.is_none(), nothing);
    }
}

#[test]
fn data_that_have_diverged_follow_nobody_until_they_are_seen_to_follow_again() {
    let facts = Facts {
        seen: Epoch(2),
        follows: Epoch(2),
        ..Facts::default()
    };
    let (mut holder, _) = started(facts, None, Found::Standby, 0);
    let effects = holder.handle(Event::Diverged, at(10));
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Commit { facts, .. } if facts.follows == Epoch::NONE
    )));
    assert_eq!(holder.standing(at(11)).follows, Epoch::NONE);
    holder.handle(Event::Follows(Epoch(2)), at(20));
    assert_eq!(holder.standing(at(21)).follows, Epoch(2));
}

#[test]
fn a_command_gives_no_right_and_an_answer_to_an_own_renewal_does_after_the_mark_is_durable() {
    let (mut holder, _) = started(Facts::default(), None, Found::Standby, 0);
    let number = claiming(&mut holder, &demote(), 1000);
    let stranger = holder.handle(answer(Duration::from_millis(999), &demote()), at(1005));
    assert!(
        stranger.is_empty(),
        "an answer to nothing that was asked: {stranger:?}"
    );
    let marks = holder.handle(answer(number, &demote()), at(1010));
    assert!(marks.iter().any(|effect| matches!(
        effect,
        Effect::Commit { facts, .. } if facts.mark.as_ref().is_some_and(|mark| mark.epoch == Epoch(1))
    )));
    assert!(
        !marks
            .iter()
            .any(|effect| matches!(effect, Effect::Promote(_)))
    );
    let promotes = holder.handle(Event::Committed(2), at(1020));
    assert!(matches!(promotes[..], [Effect::Promote(_)]), "{promotes:?}");
}

#[test]
fn the_right_ends_s_after_sending_by_the_clock_that_says_more() {
    let mut holder = primary(&demote());
    assert!(!stops(&holder.handle(Event::Tick, at(1001 + 1899))));
    let slewed = Clock {
        boottime: Duration::from_millis(2000),
        raw: Duration::from_millis(1001 + 1900),
    };
    assert!(stops(&holder.handle(Event::Tick, slewed)));
}

#[test]
fn what_waited_while_the_agent_did_not_run_comes_after_the_stop() {
    let mut holder = primary(&demote());
    let renewal = sent(&holder.handle(Event::Tick, at(1260))).expect("a renewal");
    let effects = holder.handle(answer(renewal, &demote()), at(9000));
    assert!(stops(&effects), "{effects:?}");
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::OpenPath(_)))
    );
}

#[test]
fn a_holder_that_holds_on_is_not_stopped_by_silence_but_by_a_later_epoch() {
    let mut holder = primary(&terms(ControlLoss::Hold, Profile::Fast));
    assert!(!stops(&holder.handle(Event::Tick, at(1_000_000))));
    assert!(stops(
        &holder.handle(Event::Superseded(Epoch(1)), at(1_000_001))
    ));
}

#[test]
fn a_stop_that_is_not_done_in_time_resets_the_node() {
    let mut holder = primary(&demote());
    assert!(stops(&holder.handle(Event::Tick, at(2901))));
    assert_eq!(holder.handle(Event::Tick, at(3100)), []);
    assert_eq!(holder.handle(Event::Tick, at(3101)), [Effect::Reset]);
}

#[test]
fn released_is_durable_before_anybody_is_told_and_is_never_taken_up_again() {
    let mut holder = primary(&demote());
    holder.handle(Event::Release(Epoch(1)), at(1150));
    let frees = holder.handle(Event::Empty { position: Some(7) }, at(1200));
    assert!(
        !frees
            .iter()
            .any(|effect| matches!(effect, Effect::ReportRelease(_)))
    );
    let told = holder.handle(Event::Committed(3), at(1210));
    let [Effect::ReportRelease(report)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(
        (report.epoch, report.position, report.began),
        (Epoch(1), Some(7), true)
    );
    assert_eq!(sent(&holder.handle(command(1, &demote()), at(1220))), None);
    let (mut again, _) = started(holder.facts().clone(), None, Found::Standby, 1300);
    assert_eq!(sent(&again.handle(command(1, &demote()), at(1310))), None);
}

#[test]
fn while_terms_change_both_sets_bind() {
    let mut holder = primary(&terms(ControlLoss::Demote, Profile::Conservative));
    holder.handle(Event::Propose(demote()), at(1500));
    let renews = holder.handle(Event::Tick, at(2100));
    assert!(sent(&renews).is_some());
    // The answer is lost: the record may have either.
    assert!(!stops(&holder.handle(Event::Tick, at(2100 + 1899))));
    assert!(stops(&holder.handle(Event::Tick, at(2100 + 1900))));
}

#[test]
fn while_terms_change_the_shorter_stop_and_the_shorter_watchdog_bind() {
    let mut holder = primary(&terms(ControlLoss::Demote, Profile::Conservative));
    holder.handle(Event::Armed(true), at(1110));
    holder.handle(Event::Propose(demote()), at(1500));
    let renews = holder.handle(Event::Tick, at(2100));
    assert!(
        renews.contains(&Effect::Arm(demote().timings.watchdog())),
        "{renews:?}"
    );
    assert!(
        !holder
            .handle(Event::Tick, at(2100 + 1100))
            .contains(&Effect::Pet)
    );
    let stops = holder.handle(Event::Tick, at(2100 + 1900));
    let within = stops.iter().find_map(|effect| match effect {
        Effect::ForceStop { within, .. } => Some(*within),
        _ => None,
    });
    assert_eq!(within, Some(demote().timings.stop()));
}

#[test]
fn nobody_waits_for_nobody_before_the_record_says_so() {
    let mut holder = primary(&demote());
    holder.handle(Event::Synchronous([node("db2")].into()), at(1150));
    let promised = sent(&holder.handle(Event::Tick, at(1260))).expect("a renewal");
    let asked = holder.handle(Event::Degrade, at(1270));
    let without = sent(&asked).expect("a renewal at once");
    assert!(!asked.contains(&Effect::AllowAsynchronous));
    let old = holder.handle(answer(promised, &demote()), at(1280));
    assert!(!old.contains(&Effect::AllowAsynchronous), "{old:?}");
    let new = holder.handle(answer(without, &demote()), at(1290));
    assert!(new.contains(&Effect::AllowAsynchronous), "{new:?}");
}

#[test]
fn an_agent_that_was_started_again_does_not_take_the_record_for_asynchronous() {
    let holder = primary(&demote());
    let kept = holder.tenure().cloned();
    let (mut again, _) = started(holder.facts().clone(), kept, Found::Primary, 1200);
    assert!(
        !again
            .handle(Event::Degrade, at(1210))
            .contains(&Effect::AllowAsynchronous)
    );
}

#[test]
fn an_agent_that_starts_goes_on_only_with_a_valid_deadline() {
    let holder = primary(&demote());
    let (facts, kept) = (holder.facts().clone(), holder.tenure().cloned());
    let (valid, _) = started(facts.clone(), kept.clone(), Found::Primary, 1200);
    assert!(valid.is_primary());

    let (mut blocked, effects) = started(facts.clone(), kept, Found::Primary, 9000);
    assert!(effects.contains(&Effect::Block) && !stops(&effects));
    let renewal = sent(&blocked.handle(Event::Tick, at(9001))).expect("a renewal");
    let unblocks = blocked.handle(answer(renewal, &demote()), at(9010));
    assert!(unblocks.contains(&Effect::Unblock), "{unblocks:?}");

    let (_, unowned) = started(Facts::default(), None, Found::Primary, 1200);
    assert!(stops(&unowned), "nobody gave it that role");

    let other_boot = Facts {
        mark: Some(Mark {
            epoch: Epoch(1),
            boot: BootId("b0".to_owned()),
        }),
        ..facts
    };
    let (_, frees) = started(other_boot, None, Found::Nothing, 100);
    assert!(matches!(
        &frees[..],
        [Effect::Commit { facts, .. }] if facts.released_through() == Epoch(1)
    ));
}

#[test]
fn the_watchdog_is_petted_on_young_answers_only() {
    let mut holder = primary(&demote());
    holder.handle(Event::Armed(true), at(1110));
    assert!(
        holder
            .handle(Event::Tick, at(1001 + 1099))
            .contains(&Effect::Pet)
    );
    assert!(
        !holder
            .handle(Event::Tick, at(1001 + 1100))
            .contains(&Effect::Pet)
    );
}

#[test]
fn a_disk_that_went_back_is_noticed_before_what_is_new_hides_it() {
    let (mut holder, _) = started(Facts::default(), None, Found::Standby, 0);
    let heard = Event::Heard {
        epoch: Epoch(4),
        holder: None,
        witnessed: Epoch(3),
    };
    holder.handle(heard, at(10));
    assert!(holder.standing(at(11)).reverted);
}

#[test]
fn an_agent_may_end_on_a_primary_only_when_the_record_says_hold() {
    let mut holder = primary(&demote());
    assert!(
        !holder
            .handle(Event::Exit, at(1150))
            .contains(&Effect::MayExit)
    );
    let renewal = sent(&holder.handle(Event::Tick, at(1260))).expect("a renewal");
    let hold = terms(ControlLoss::Hold, Profile::Fast);
    let answered = holder.handle(answer(renewal, &hold), at(1270));
    assert!(answered.contains(&Effect::MayExit), "{answered:?}");
}

#[test]
fn nobody_is_promoted_by_hand() {
    assert!(primary(&demote()).by_hand().is_err());
}

#[test]
fn a_new_primary_promises_nothing_that_it_promised_before() {
    let holder = primary(&demote());
    let holding = holder.standing(at(1200)).holding.expect("it holds");
    assert_eq!(holding.synchrony, Synchrony::Off);
}

#[test]
fn what_keeps_no_data_waits_for_everybody_and_follows_as_soon_as_somebody_else_is_primary() {
    let config = Config {
        data: false,
        ..config()
    };
    let (mut holder, _) = Holder::start(config, Facts::default(), None, Found::Nothing, at(0));
    let promote = Event::Promote {
        epoch: Epoch(1),
        holder: member("b1"),
        terms: demote(),
    };
    holder.handle(promote, at(10));
    // It claims when the epoch is durable.
    let effects = holder.handle(Event::Committed(1), at(11));
    let request = effects.iter().find_map(|effect| match effect {
        Effect::Renew { request, .. } => Some(request),
        _ => None,
    });
    let request = request.expect("a claim is renewed at once");
    assert_eq!(request.synchrony, Synchrony::With(demote().members));

    let marked = Facts {
        seen: Epoch(1),
        mark: Some(Mark {
            epoch: Epoch(1),
            boot: member("b1").boot,
        }),
        released: Some(Released {
            epoch: Epoch(1),
            by: member("b1"),
            began: true,
            position: None,
        }),
        ..Facts::default()
    };
    for data in [true, false] {
        let config = Config {
            data,
            ..self::config()
        };
        let (mut holder, _) = Holder::start(config, marked.clone(), None, Found::Nothing, at(0));
        holder.handle(
            Event::Heard {
                epoch: Epoch(2),
                holder: Some(Member {
                    node: node("db2"),
                    boot: BootId("b2".to_owned()),
                }),
                witnessed: Epoch(1),
            },
            at(10),
        );
        assert_eq!(holder.facts().mark.is_some(), data);
    }
}

#[test]
fn who_was_primary_is_marked_until_its_data_follow_a_later_one() {
    let marked = Facts {
        seen: Epoch(3),
        released: Some(Released {
            epoch: Epoch(1),
            by: member("b1"),
            began: true,
            position: None,
        }),
        mark: Some(Mark {
            epoch: Epoch(1),
            boot: member("b1").boot,
        }),
        ..Facts::default()
    };
    let (mut holder, _) = started(marked, None, Found::Standby, 100);
    holder.handle(Event::Follows(Epoch(1)), at(200));
    let standing = holder.standing(at(210));
    assert_eq!(
        (standing.mark, standing.follows),
        (Some(Epoch(1)), Epoch::NONE),
        "its own epoch is no later one"
    );
    holder.handle(Event::Follows(Epoch(3)), at(220));
    holder.handle(Event::Follows(Epoch(2)), at(230));
    let standing = holder.standing(at(240));
    assert_eq!((standing.mark, standing.follows), (None, Epoch(3)));
}

/// A standby whose data follow this epoch.
fn follower() -> Facts {
    Facts {
        seen: Epoch(3),
        follows: Epoch(3),
        ..Facts::default()
    }
}

#[test]
fn who_was_primary_without_being_made_one_follows_nobody_any_more() {
    let (mut holder, _) = started(follower(), None, Found::Standby, 100);
    let effects = holder.handle(Event::Found(Found::Primary), at(200));
    assert!(
        matches!(effects[1], Effect::ForceStop { .. }),
        "{effects:?}"
    );
    assert_eq!(holder.standing(at(210)).follows, Epoch::NONE);
    // An agent that finds it so when it starts.
    let (holder, effects) = started(follower(), None, Found::Primary, 100);
    assert!(
        matches!(effects[1], Effect::ForceStop { .. }),
        "{effects:?}"
    );
    assert_eq!(holder.standing(at(210)).follows, Epoch::NONE);
}

#[test]
fn who_was_chosen_for_its_data_gives_the_role_back_when_they_are_of_another_line() {
    let (mut holder, _) = started(follower(), None, Found::Standby, 100);
    let promote = Event::Promote {
        epoch: Epoch(4),
        holder: member("b1"),
        terms: demote(),
    };
    holder.handle(promote, at(200));
    let effects = holder.handle(Event::Diverged, at(210));
    let freed = |effect: &Effect| match effect {
        Effect::Commit { facts, .. } => facts.released_through() == Epoch(4),
        _ => false,
    };
    assert!(effects.iter().any(freed), "{effects:?}");
    let released = holder.facts().released.clone().expect("it is given back");
    assert!(!released.began, "nothing was written in it");
    assert_eq!(holder.facts().follows, Epoch::NONE);
}
