//! Saying what was not tested.

use std::io::Write as _;
use std::path::Path;

/// Environment variable with the file in which skips are collected; `cargo xtask test` sets it and
/// prints the list at the end. Test runners hide the output of tests that pass, so printing is
/// not enough.
pub const SKIPS_VARIABLE: &str = "INTERLOCK_SKIPS";

/// Environment variable with the test programs that want a machine of their own, as `PATH` lists directories;
/// `cargo xtask test` sets it.
pub const HOSTED_TESTS_VARIABLE: &str = "INTERLOCK_HOSTED_TESTS";

/// Reports that `what` is not tested, and why: a line on standard error and one in the file named by
/// [`SKIPS_VARIABLE`].
pub fn skip(what: &str, why: &str) {
    let line = format!("SKIPPED: {what}: {why}\n").replace('\n', " ");
    let line = format!("{}\n", line.trim_end());
    eprint!("{line}");
    let Some(list) = std::env::var_os(SKIPS_VARIABLE) else {
        return;
    };
    // One write in append mode, so that lines of tests running at the same time do not mix.
    let opened = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&list);
    if let Err(error) = opened.and_then(|mut file| file.write_all(line.as_bytes())) {
        eprintln!("cannot note the skip in {}: {error}", list.display());
    }
}

/// The first of these programs that is not there, with the package that has it, in a line.
#[must_use]
pub fn missing(needed: &[(&str, &str)]) -> Option<String> {
    let missing = needed
        .iter()
        .find(|(program, _)| !Path::new(program).exists());
    missing.map(|(program, package)| {
        format!("{program} is missing; `cargo xtask test` installs {package}")
    })
}

/// Whether each of these programs is there, which packages have. Reports that `what` is not tested if one is missing.
#[must_use]
pub fn has(what: &str, needed: &[(&str, &str)]) -> bool {
    let missing = missing(needed);
    if let Some(why) = &missing {
        skip(what, why);
    }
    missing.is_none()
}
