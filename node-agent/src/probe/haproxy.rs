//! The servers of an HAProxy on this machine: each takes clients, unless a plan has put it out.
//!
//! What HAProxy makes of a server is asked for, not what this agent has told it: what a person has taken out, what its own
//! checks find down and what a reload has made of it are seen alike. A server that is out because a plan has put it out is
//! as it should be, and named.

use std::fmt;
use std::path::Path;

use interlock_model::check::{HaproxyCheck, ProbeResult};

use super::outcome::{bad, ok, unknown};
use crate::balance::{Haproxy, HaproxyServer};
use crate::run::chain;

/// Knows which servers of load balancers are out because a plan has put them out.
pub trait PutOut: fmt::Debug + Send + Sync {
    /// Is it this one, of the HAProxy with this socket?
    fn has_put_out(&self, socket: &Path, backend: &str, server: &str) -> bool;
}

/// Nobody is put out.
#[derive(Debug, Clone, Copy, Default)]
pub struct NobodyPutOut;

impl PutOut for NobodyPutOut {
    fn has_put_out(&self, _: &Path, _: &str, _: &str) -> bool {
        false
    }
}

/// Asks HAProxy.
pub(super) async fn probe(check: &HaproxyCheck, put_out: &dyn PutOut) -> ProbeResult {
    let haproxy = Haproxy::at(&check.socket);
    match haproxy.servers(&check.backends).await {
        Ok(servers) => judge(&servers, |server| {
            put_out.has_put_out(Path::new(&check.socket), &server.backend, &server.name)
        }),
        Err(error) => {
            let why = chain(&error);
            if error.is_an_answer() {
                bad(why)
            } else {
                unknown(why)
            }
        }
    }
}

fn judge(servers: &[HaproxyServer], is_put_out: impl Fn(&HaproxyServer) -> bool) -> ProbeResult {
    let (well, out): (Vec<_>, Vec<_>) = servers.iter().partition(|server| server.reached());
    let (put, wrong): (Vec<_>, Vec<_>) = out.into_iter().partition(|server| is_put_out(server));
    if !wrong.is_empty() {
        return bad(listed(&wrong));
    }
    let well = match well.len() {
        1 => "1 server takes clients".to_owned(),
        several => format!("{several} servers take clients"),
    };
    ok(match put.is_empty() {
        true => well,
        false => format!("{well}; put out by a plan: {}", listed(&put)),
    })
}

fn listed(servers: &[&HaproxyServer]) -> String {
    let each: Vec<String> = servers.iter().map(ToString::to_string).collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use interlock_model::check::Verdict;

    use super::*;

    fn server(name: &str, status: &str) -> HaproxyServer {
        HaproxyServer {
            backend: "web".to_owned(),
            name: name.to_owned(),
            status: status.to_owned(),
            checked: String::new(),
        }
    }

    #[test]
    fn who_gets_no_clients_is_bad_unless_a_plan_has_put_him_out() {
        for (status, put, verdict) in [
            ("UP", false, Verdict::Ok),
            ("UP 1/3", false, Verdict::Ok),
            ("no check", false, Verdict::Ok),
            ("DOWN", false, Verdict::Bad),
            ("DOWN 1/2", false, Verdict::Bad),
            ("MAINT", false, Verdict::Bad),
            ("MAINT (resolution)", false, Verdict::Bad),
            ("DRAIN", false, Verdict::Bad),
            ("NOLB", false, Verdict::Bad),
            ("something new", false, Verdict::Bad),
            ("MAINT", true, Verdict::Ok),
            ("DRAIN", true, Verdict::Ok),
            ("DOWN", true, Verdict::Ok),
        ] {
            let servers = [server("a", "UP"), server("b", status)];
            let result = judge(&servers, |server| put && server.name == "b");
            assert_eq!(result.verdict, verdict, "{status}: {result:?}");
            let named = result.evidence.contains(&format!("web/b is {status}"));
            assert_eq!(named, put || verdict == Verdict::Bad, "{result:?}");
        }
    }
}
