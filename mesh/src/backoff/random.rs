//! Where jitter comes from.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// A source of uniform numbers. Tests and the simulator pass a seeded one: any `FnMut() -> u64` will do.
pub trait Random {
    /// The next number, uniform over all of `u64`.
    fn next_u64(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Random for F {
    fn next_u64(&mut self) -> u64 {
        self()
    }
}

/// Randomness of this process: good enough to spread waits, never for keys.
///
/// A keyed SipHash (the standard library's, keyed by the operating system) of a counter, so that jitter costs neither
/// a dependency nor a system call.
#[derive(Debug, Clone, Default)]
pub struct SystemRandom {
    key: RandomState,
    counter: u64,
}

impl SystemRandom {
    /// A source with a key of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Random for SystemRandom {
    fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        let mut hasher = self.key.build_hasher();
        hasher.write_u64(self.counter);
        hasher.finish()
    }
}
