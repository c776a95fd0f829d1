//! Looks that end: a check that hangs makes an instance unknown, and is not begun again beside itself.

use std::time::Duration;

use interlock_model::action::Part;
use interlock_model::names::ServiceName;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::managers::Managers;
use super::seen::Seen;

/// How long a look at an instance may take before its state is unknown: three of the rhythm in which commands are asked.
/// What was seen before would look as fresh as ever until then (invariant I5).
const LIMIT: Duration = Duration::from_secs(30);

/// Looks of one instance that have not ended in time, at most one of each part.
#[derive(Debug, Default)]
pub(super) struct Looks {
    hanging: Vec<(Part, JoinHandle<Seen>)>,
}

impl Looks {
    /// Looks at all parts of what is assigned for a service, within [`LIMIT`].
    pub(super) async fn at(
        &mut self,
        managers: &Managers,
        service: &ServiceName,
        parts: &[Part],
    ) -> Vec<(Part, Seen)> {
        let until = Instant::now() + LIMIT;
        let mut all = Vec::with_capacity(parts.len());
        for part in parts {
            let look = || {
                let (managers, service, part) = (managers.clone(), service.clone(), part.clone());
                async move { managers.look_at_assigned(&service, &part).await }
            };
            all.push((part.clone(), self.one(part, until, look).await));
        }
        all
    }

    /// Looks at one part. A look that still hangs is waited for, and another one follows it: it tells of earlier times.
    async fn one<F>(&mut self, part: &Part, until: Instant, look: impl Fn() -> F) -> Seen
    where
        F: Future<Output = Seen> + Send + 'static,
    {
        let hanging = self.hanging.iter().position(|(hangs, _)| hangs == part);
        let mut earlier = hanging.map(|index| self.hanging.swap_remove(index).1);
        loop {
            let is_earlier = earlier.is_some();
            let mut looking = earlier.take().unwrap_or_else(|| tokio::spawn(look()));
            match tokio::time::timeout_at(until, &mut looking).await {
                Ok(_) if is_earlier => {}
                Ok(seen) => return seen.unwrap_or_else(|_| Seen::unknown("the agent is ending")),
                Err(_) => {
                    self.hanging.push((part.clone(), looking));
                    return Seen::unknown(format!("looking at {part} hangs"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use interlock_model::observation::InstanceState;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_look_that_hangs_is_unknown_and_not_begun_again_until_it_has_ended() {
        let part = Part::Exec {
            name: "web".parse().unwrap(),
        };
        let (begun, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let look = || {
            let (begun, gate) = (Arc::clone(&begun), Arc::clone(&gate));
            async move {
                begun.fetch_add(1, Ordering::Relaxed);
                let _open = gate.acquire().await;
                Seen {
                    state: InstanceState::Running,
                    ..Seen::unknown("")
                }
            }
        };
        let mut looks = Looks::default();
        for _ in 0..3 {
            let soon = Instant::now() + Duration::from_millis(20);
            let seen = looks.one(&part, soon, look).await;
            assert_eq!(seen.state, InstanceState::Unknown);
            assert!(seen.reason.contains("hangs"), "{}", seen.reason);
        }
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        gate.add_permits(1);
        let late = Instant::now() + Duration::from_secs(60);
        assert!(looks.one(&part, late, look).await.is_running());
        assert_eq!(begun.load(Ordering::Relaxed), 2, "what is told is of now");
    }
}
