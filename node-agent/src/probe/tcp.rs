//! A TCP connection that is accepted.

use std::io::{self, ErrorKind};
use std::time::Duration;

use interlock_model::check::ProbeResult;

use super::Names;
use super::outcome::{bad, ok, unknown};

/// Connects to `host:port` and closes again. A numeric address is used as it is.
pub(super) async fn probe(names: &Names, target: &str, limit: Duration) -> ProbeResult {
    match names.connect(target, limit).await {
        Ok(_) => ok(format!("{target} accepts connections")),
        Err(error) => refused(target, &error),
    }
}

/// The verdict on a connection that failed. Only an answer of the target itself is bad; a network that cannot get
/// there, or a name that does not resolve, says nothing about the service.
pub(super) fn refused(target: &str, error: &io::Error) -> ProbeResult {
    match error.kind() {
        ErrorKind::ConnectionRefused => bad(format!("{target} refuses connections")),
        ErrorKind::ConnectionReset => bad(format!("{target} resets the connection")),
        _ => unknown(format!("cannot connect to {target}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use interlock_model::check::Verdict;
    use tokio::net::TcpListener;

    use super::*;

    async fn probe(target: &str) -> ProbeResult {
        super::probe(&Names::default(), target, Duration::from_secs(60)).await
    }

    #[tokio::test]
    async fn an_open_port_is_good_and_a_closed_one_is_bad() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        assert_eq!(probe(&target).await.verdict, Verdict::Ok);
        drop(listener);
        let result = probe(&target).await;
        assert_eq!(result.verdict, Verdict::Bad, "{result:?}");
        assert!(result.evidence.contains(&target), "{result:?}");
    }

    #[tokio::test]
    async fn a_target_that_cannot_be_reached_or_read_is_unknown() {
        for target in ["nowhere.invalid:80", "127.0.0.1", "", "127.0.0.1:99999"] {
            let result = probe(target).await;
            assert_eq!(result.verdict, Verdict::Unknown, "{target}: {result:?}");
        }
    }
}
