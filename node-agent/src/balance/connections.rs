//! The connections that processes have to an address, as the kernel knows them.
//!
//! nginx itself does not tell how many sessions a member has, and HAProxy not those that a process of before a reload still
//! serves. Their workers' connections to the member are just that: one per request that is answered, one per WebSocket for as
//! long as it lasts.
//!
//! The kernel is asked for those that are in use ([`diag`]). Its table (`/proc/PID/net/tcp`, [`table`]) has besides each
//! that has been over for less than a minute (`TIME_WAIT`): a hundred thousand of them on a busy load balancer. While
//! these come and go the kernel begins anew at each read of the table, and reading it was measured to take 4 s. It is for
//! one in another network namespace, and for a kernel that does not answer the question.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;

use super::{diag, table};
use crate::shim::ProcessRef;

/// How many connections these processes have to any of these addresses. All of them are in one network namespace.
pub(super) fn count(of: &BTreeSet<ProcessRef>, to: &[SocketAddr]) -> io::Result<u64> {
    let Some(first) = of.first() else {
        return Ok(0);
    };
    let inodes = inodes(*first, to)?;
    let mut found = 0;
    for process in of.iter().filter(|_| !inodes.is_empty()) {
        let files = match fs::read_dir(format!("/proc/{}/fd", process.pid)) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for file in files.filter_map(Result::ok) {
            let link = fs::read_link(file.path()).unwrap_or_default();
            let socket = link.to_str().and_then(|it| it.strip_prefix("socket:["));
            let inode = socket.and_then(|it| it.strip_suffix(']')?.parse::<u64>().ok());
            found += u64::from(inode.is_some_and(|inode| inodes.contains(&inode)));
        }
    }
    Ok(found)
}

/// The sockets, by inode, of the connections to these addresses in the network namespace of a process.
fn inodes(near: ProcessRef, to: &[SocketAddr]) -> io::Result<BTreeSet<u64>> {
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/net")).ok();
    let own = namespace("self");
    if own.is_some() && own == namespace(&near.pid.to_string()) {
        match diag::inodes(to) {
            Ok(inodes) => return Ok(inodes),
            Err(error) => {
                tracing::debug!(%error, "the kernel is not asked for connections, its table is read")
            }
        }
    }
    table::inodes(near, to)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_connections_of_a_process_to_an_address_are_counted_and_no_others() {
        let me = ProcessRef::of(std::process::id()).unwrap();
        let of = BTreeSet::from([me]);
        for host in ["127.0.0.1", "[::1]"] {
            let Ok(listener) = TcpListener::bind(format!("{host}:0")) else {
                continue;
            };
            let to = [listener.local_addr().unwrap()];
            // Over already, and in the table for a while.
            drop((
                TcpStream::connect(to[0]).unwrap(),
                listener.accept().unwrap(),
            ));
            assert_eq!(count(&of, &to).unwrap(), 0);
            let first = TcpStream::connect(to[0]).unwrap();
            let second = TcpStream::connect(to[0]).unwrap();
            assert_eq!(count(&of, &to).unwrap(), 2);
            let asked = diag::inodes(&to).unwrap();
            assert_eq!(asked, table::inodes(me, &to).unwrap(), "both tell the same");
            drop(first);
            assert_eq!(count(&of, &to).unwrap(), 1);
            drop(second);
        }
    }

    #[test]
    fn a_connection_of_an_ipv6_socket_to_an_ipv4_address_is_one_to_that() {
        let of = BTreeSet::from([ProcessRef::of(std::process::id()).unwrap()]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let Ok(mapped) = TcpStream::connect(format!("[::ffff:127.0.0.1]:{}", to.port())) else {
            return;
        };
        assert_eq!(count(&of, &[to]).unwrap(), 1);
        drop(mapped);
    }
}
