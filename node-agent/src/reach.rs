//! Whether another machine is reached: does a kernel answer there?
//!
//! The port of its agent is connected to, and whatever answers is an answer: a refused connection comes from a kernel that works
//! as well as an accepted one. Silence, or a neighbour that does not answer on the wire, says that it is not reached. What
//! fails on this machine's own side, such as a missing route, says nothing of the other one.

use std::io::{self, ErrorKind};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::{TcpStream, lookup_host};

/// The port of agents.
pub(crate) const PORT: u16 = 7444;

/// How long an answer may take. A machine of the same site answers within a millisecond; a lost packet is sent again after
/// 200 ms at least.
const LIMIT: Duration = Duration::from_millis(350);

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// None if nothing could be tried.
    pub(crate) reached: Option<bool>,
    /// Of each address.
    pub(crate) detail: String,
}

/// Tries all addresses of a machine at once. One that answers is enough.
pub(crate) async fn machine(addresses: &[String]) -> Found {
    at_port(addresses, PORT).await
}

async fn at_port(addresses: &[String], port: u16) -> Found {
    let tried = addresses.iter().map(|address| one(address, port));
    let mut reached = None;
    let mut details = Vec::new();
    for (one, detail) in join_all(tried).await {
        reached = reached.max(one);
        details.push(detail);
    }
    Found {
        reached,
        detail: details.join("; "),
    }
}

async fn one(address: &str, port: u16) -> (Option<bool>, String) {
    // A resolver that does not answer is not the machine.
    let found = tokio::time::timeout(LIMIT, lookup_host((address, port))).await;
    let found = match found {
        Ok(Ok(mut found)) => found.next().ok_or("it has no address".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("its name is not resolved in time".to_owned()),
    };
    let found = match found {
        Ok(found) => found,
        Err(why) => return (None, format!("{address}: {why}")),
    };
    let connected = tokio::time::timeout(LIMIT, TcpStream::connect(found)).await;
    let (reached, what) = match connected {
        Ok(Ok(_)) => (Some(true), "answers".to_owned()),
        Err(_) => (
            Some(false),
            format!("no answer within {} ms", LIMIT.as_millis()),
        ),
        Ok(Err(error)) => (told(&error), error.to_string()),
    };
    (reached, format!("{address}: {what}"))
}

/// What an error says of the other machine.
fn told(error: &io::Error) -> Option<bool> {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Some(true),
        // Not what says that a host cannot be reached: its own firewall may have said so, and then it lives. Where nobody
        // answers for an address, that takes longer to be known than is waited for here.
        ErrorKind::TimedOut => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use tokio::net::TcpListener;

    use super::*;

    fn addresses(all: &[&str]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn a_kernel_that_refuses_is_reached_as_well_as_one_that_accepts() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let here = addresses(&["127.0.0.1"]);
        assert_eq!(at_port(&here, port).await.reached, Some(true));
        drop(listener);
        let refused = at_port(&here, port).await;
        assert_eq!(refused.reached, Some(true), "{refused:?}");
    }

    #[test]
    fn a_firewall_that_rejects_is_not_silence() {
        // By the kind of rejection: `reject with tcp reset`, `icmp port-unreachable`, `host-unreachable`, `admin-prohibited`,
        // `net-unreachable`, and this machine's own.
        for (errno, reached) in [
            (Errno::CONNRESET, Some(true)),
            (Errno::CONNREFUSED, Some(true)),
            (Errno::HOSTUNREACH, None),
            (Errno::ACCESS, None),
            (Errno::NETUNREACH, None),
            (Errno::PERM, None),
            (Errno::TIMEDOUT, Some(false)),
        ] {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            assert_eq!(told(&error), reached, "{error}");
        }
    }

    #[tokio::test]
    async fn what_could_not_be_tried_says_nothing_and_one_address_that_answers_is_enough() {
        let nowhere = at_port(&addresses(&["no-such-name.invalid"]), 1).await;
        assert_eq!(nowhere.reached, None, "{nowhere:?}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let both = at_port(&addresses(&["no-such-name.invalid", "127.0.0.1"]), port).await;
        assert_eq!(both.reached, Some(true), "{both:?}");
        assert_eq!(at_port(&[], port).await.reached, None);
    }
}
