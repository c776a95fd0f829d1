//! Memory that is not paged out: whoever waits for a page waits for a disk (safety rule E14).

use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, geteuid, getrlimit};

/// Keeps in memory what is there, and what comes to be there when it is first used (mlockall(2), `MCL_ONFAULT`: a reserve
/// that nobody touches costs nothing).
///
/// Not tried under a limit (`RLIMIT_MEMLOCK`): with `MCL_FUTURE` a later allocation that meets it fails, and an agent
/// without memory protects nobody.
///
/// # Errors
/// If it is not permitted; who goes on without is as safe as its disk is quick.
pub(super) fn lock() -> io::Result<()> {
    let limited = getrlimit(Resource::Memlock).current.is_some();
    if limited && !geteuid().is_root() {
        let text =
            "the limit of locked memory is in the way: set LimitMEMLOCK=infinity for this agent";
        return Err(io::Error::other(text));
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags).map_err(io::Error::from)
}
