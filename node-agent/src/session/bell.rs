//! What wakes a task that looks for itself what there is to do.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;

/// A bell for one task. Rung any number of times before the task looks, it wakes it once.
///
/// Neither to ring nor to wait takes a lock or a place in a list: a task that waits for many things waits for one of these.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    /// There is something to look at.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Waits until the bell was rung since this last ended. Only one task may wait.
    pub(super) async fn rung(&self) {
        poll_fn(|context| {
            // Registered before it is looked: who rings in between wakes the task.
            self.waker.register(context.waker());
            match self.rung.swap(false, Ordering::AcqRel) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn rung_twice_before_anybody_looks_is_once() {
        let bell = Bell::default();
        assert!(bell.rung().now_or_never().is_none());
        bell.ring();
        bell.ring();
        assert!(bell.rung().now_or_never().is_some());
        assert!(bell.rung().now_or_never().is_none());
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_each_time() {
        let bell = Arc::new(Bell::default());
        for _ in 0..100 {
            let other = Arc::clone(&bell);
            let ringer = tokio::spawn(async move { other.ring() });
            bell.rung().await;
            ringer.await.unwrap();
        }
    }
}
