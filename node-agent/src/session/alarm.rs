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

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_earliest_moment_once() {
        let mut alarm = Alarm::default();
        let begin = Instant::now();
        alarm.set_by(Some(begin + Duration::from_secs(3)));
        alarm.set_by(Some(begin + Duration::from_secs(2)));
        alarm.set_by(Some(begin + Duration::from_secs(4)));
        alarm.set_by(None);
        alarm.rings().await;
        assert_eq!(begin.elapsed(), Duration::from_secs(2));
        let never = tokio::time::timeout(Duration::from_secs(9), alarm.rings());
        assert!(never.await.is_err());
        alarm.set_by(Some(begin + Duration::from_secs(20)));
        alarm.rings().await;
        assert_eq!(begin.elapsed(), Duration::from_secs(20));
    }
}
