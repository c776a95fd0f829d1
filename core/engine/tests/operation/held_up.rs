//! A store that takes no writes makes no step late.

use std::time::Duration;

use interlock_engine::operation::State;
use interlock_model::ids::OperationId;
use interlock_model::time::Now;

use crate::bench::LIMIT;
use crate::claims::{coordinator, request, says_hello};

#[test]
fn the_time_in_which_nothing_could_be_written_counts_for_no_deadline() {
    let mut coordinator = coordinator();
    says_hello(&mut coordinator, "a");
    let mut now = Now::default();
    let id = coordinator
        .start(&request("anna", &["stop:db@a"]), now)
        .unwrap();
    let mut pass = |coordinator: &mut interlock_engine::coordinator::Coordinator, limits: u32| {
        let until = now.mono + LIMIT * limits;
        while now.mono < until {
            now.mono += Duration::from_millis(500);
            coordinator.tick(now);
        }
        let operation = coordinator.operation(OperationId(1)).unwrap();
        (operation.state(), now)
    };
    assert_eq!(id, OperationId(1));
    coordinator.held_up(true, Now::default());
    let (state, then) = pass(&mut coordinator, 3);
    assert_eq!(state, State::Running);
    // Now it could have begun, and has as long for it as it ever had.
    coordinator.held_up(false, then);
    let (state, _) = pass(&mut coordinator, 2);
    assert_eq!(state, State::NeedsAttention);
}
