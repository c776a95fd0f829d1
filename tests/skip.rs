//! Saying what a test has left out, for the tests of crates that do not name `interlock-e2e`: each takes this file in.

use std::fs::File;
use std::io::Write as _;

/// Says that `what` is not tested here, and why: also where `cargo xtask test` collects what it tells at its end.
pub(crate) fn skip(what: &str, why: &str) {
    let line = format!("SKIPPED: {what}: {}\n", why.trim_end().replace('\n', " "));
    eprint!("{line}");
    if let Some(list) = std::env::var_os("INTERLOCK_SKIPS") {
        let mut list = File::options()
            .create(true)
            .append(true)
            .open(list)
            .expect("the list of skips cannot be opened");
        // One write: lines of tests that run at the same time do not mix.
        list.write_all(line.as_bytes())
            .expect("the list of skips cannot be written");
    }
}
