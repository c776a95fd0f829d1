//! The table as `nft` makes it: once, and anew by each agent that starts, in one transaction.

use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};

use super::Error;

/// The program, by the search path and where distributions have it: services are started with short search paths.
const PROGRAMS: [&str; 2] = ["nft", "/usr/sbin/nft"];

/// Makes what is not there; the rules are replaced, the sets keep their elements.
///
/// Three hooks, because a packet's destination may change on its way: *arriving* and *leaving* see it before a translation
/// that would send it on to a container, for clients elsewhere and here, *input* after one that sends it to this node. The
/// first two ask whether the address is this node's, so that nothing is dropped that is on its way to the node which has the
/// address now.
const TABLE: &str = "\
add table inet interlock
add set inet interlock guarded4 { type ipv4_addr; }
add set inet interlock guarded6 { type ipv6_addr; }
add set inet interlock open4 { type ipv4_addr; flags timeout; }
add set inet interlock open6 { type ipv6_addr; flags timeout; }
add set inet interlock tickets { type mark . mark; flags timeout; }
add chain inet interlock clients
add chain inet interlock arriving { type filter hook prerouting priority raw - 10; policy accept; }
add chain inet interlock leaving { type filter hook output priority raw - 10; policy accept; }
add chain inet interlock input { type filter hook input priority filter - 10; policy accept; }
flush chain inet interlock clients
flush chain inet interlock arriving
flush chain inet interlock leaving
flush chain inet interlock input
add rule inet interlock clients ip daddr @guarded4 ip daddr != @open4 drop
add rule inet interlock clients ip6 daddr @guarded6 ip6 daddr != @open6 drop
add rule inet interlock arriving fib daddr type local jump clients
add rule inet interlock leaving fib daddr type local jump clients
add rule inet interlock input jump clients
";

/// Makes the table, if it is not there, and its rules.
pub(super) fn make() -> Result<(), Error> {
    let mut outcome = Err(Error::NoProgram(ErrorKind::NotFound.into()));
    for program in PROGRAMS {
        outcome = run(program);
        if !matches!(outcome, Err(Error::NoProgram(_))) {
            break;
        }
    }
    outcome
}

fn run(program: &str) -> Result<(), Error> {
    let mut child = Command::new(program)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::NoProgram(error),
            _ => Error::CannotRun(error),
        })?;
    // It is read to its end before anything is said, and is less than a pipe holds: this cannot wait for a reader that waits.
    let written = child
        .stdin
        .take()
        .map_or(Ok(()), |mut input| input.write_all(TABLE.as_bytes()));
    let output = child.wait_with_output().map_err(Error::CannotRun)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first: Vec<_> = said.lines().take(3).map(str::trim).collect();
        return Err(Error::Refused(first.join(" ")));
    }
    written.map_err(Error::CannotRun)
}
