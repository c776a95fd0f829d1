//! One timer for whatever comes next.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Rings at a moment. One that is moved later rings at the earlier one all the same: to look once too often costs less than
/// to move a timer each time.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// Made when it is first needed.
    timer: Option<Pin<Box<Sleep>>>,
    is_set: bool,
}

impl Alarm {
    /// Rings at this moment at the latest.
    pub(super) fn set_by(&mut self, at: Option<Instant>) {
        let Some(at) = at else {
            return;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep(Duration::ZERO)));
        if !self.is_set || at < timer.deadline() {
            timer.as_mut().reset(at);
            self.is_set = true;
        }
    }

    /// Waits until it rings; for ever if it is not set.
    pub(super) async fn rings(&mut self) {
        match &mut self.timer {
            Some(timer) if self.is_set => timer.await,
            Some(_) | None => std::future::pending().await,
        }
        self.is_set = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_rings_at_the_earliest_moment_once() {
        let mut alarm = Alarm::default();
        let begin = Instant::now();
        let after = |millis| Some(begin + Duration::from_millis(millis));
        alarm.set_by(after(60_000));
        alarm.set_by(after(20));
        alarm.set_by(after(90_000));
        alarm.set_by(None);
        alarm.rings().await;
        assert!(begin.elapsed() >= Duration::from_millis(20));
        let never = tokio::time::timeout(Duration::from_millis(50), alarm.rings());
        assert!(never.await.is_err());
        alarm.set_by(after(100));
        alarm.rings().await;
        assert!(begin.elapsed() >= Duration::from_millis(100));
    }
}
