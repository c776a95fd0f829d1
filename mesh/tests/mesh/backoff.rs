//! Waiting before trying again.

use std::time::Duration;

use interlock_mesh::backoff::{Attempts, Backoff, InvalidBackoff, Random, SystemRandom};
use proptest::prelude::*;

fn backoffs() -> impl Strategy<Value = (Duration, Duration, u8, Backoff)> {
    (1..u64::MAX, 0..u64::MAX, 0..=100_u8).prop_map(|(first, more, jitter)| {
        // From a nanosecond to more than five hundred years.
        let first = Duration::from_nanos(first);
        let longest = first.saturating_add(Duration::from_nanos(more));
        (
            first,
            longest,
            jitter,
            Backoff::new(first, longest, jitter).unwrap(),
        )
    })
}

proptest! {
    #[test]
    fn a_wait_lies_between_its_bounds(
        (first, longest, jitter, backoff) in backoffs(),
        attempt in any::<u32>(),
        random in any::<u64>(),
    ) {
        let wait = backoff.wait(attempt, random);
        let full = 2_u32.checked_pow(attempt).map_or(longest, |factor| first.saturating_mul(factor)).min(longest);
        prop_assert!(wait <= full, "{wait:?} is more than {full:?}");
        let least = full.as_nanos() * u128::from(100 - jitter) / 100;
        prop_assert!(wait.as_nanos() >= least, "{wait:?} is less than {least} ns");
    }

    #[test]
    fn waits_do_not_shrink_from_one_attempt_to_the_next(
        (_, _, _, backoff) in backoffs(),
        attempt in 0..100_u32,
        random in any::<u64>(),
    ) {
        prop_assert!(backoff.wait(attempt, random) <= backoff.wait(attempt + 1, random));
    }

    #[test]
    fn the_same_randomness_gives_the_same_wait((_, _, _, backoff) in backoffs(), seed in any::<u64>()) {
        let mut one = Attempts::new(backoff);
        let mut two = one.clone();
        for _ in 0..5 {
            prop_assert_eq!(one.next_wait(&mut || seed), two.next_wait(&mut || seed));
        }
    }
}

#[test]
fn the_extremes_of_randomness_are_the_ends_of_the_jitter() {
    let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5), 50).unwrap();
    let waits = |random: u64| {
        [0, 1, 2, 3, u32::MAX].map(|attempt| backoff.wait(attempt, random).as_millis())
    };
    assert_eq!(waits(0), [1_000, 2_000, 4_000, 5_000, 5_000]);
    assert_eq!(waits(u64::MAX), [500, 1_000, 2_000, 2_500, 2_500]);
}

#[test]
fn parameters_that_would_spin_or_lie_are_refused() {
    let second = Duration::from_secs(1);
    assert_eq!(
        Backoff::new(Duration::ZERO, second, 0),
        Err(InvalidBackoff::Zero)
    );
    let inverted = InvalidBackoff::Inverted {
        first: second,
        longest: second / 2,
    };
    assert_eq!(Backoff::new(second, second / 2, 0), Err(inverted));
    assert_eq!(
        Backoff::new(second, second, 101),
        Err(InvalidBackoff::Jitter(101))
    );
    let connect = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), 80);
    assert_eq!(
        connect,
        Ok(Backoff::CONNECT),
        "the constant is what the constructor would accept"
    );
}

#[test]
fn only_a_success_that_lasted_starts_over() {
    let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8), 0).unwrap();
    let mut attempts = Attempts::new(backoff);
    let mut none = || 0;
    let mut next = |attempts: &mut Attempts| attempts.next_wait(&mut none).as_secs();
    assert_eq!(
        (
            next(&mut attempts),
            next(&mut attempts),
            next(&mut attempts)
        ),
        (1, 2, 4)
    );
    attempts.lasted(Duration::from_secs(7));
    assert_eq!((attempts.failed(), next(&mut attempts)), (3, 8));
    attempts.lasted(Duration::from_secs(8));
    assert_eq!((attempts.failed(), next(&mut attempts)), (0, 1));
}

#[test]
fn the_systems_randomness_differs_from_call_to_call_and_from_source_to_source() {
    let (mut one, mut two) = (SystemRandom::new(), SystemRandom::new());
    let mut numbers: Vec<u64> = (0..100)
        .flat_map(|_| [one.next_u64(), two.next_u64()])
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 200);
}
