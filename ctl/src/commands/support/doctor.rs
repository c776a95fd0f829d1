//! What is looked at from here: who answers, whose certificate ends when, clocks, versions.

use std::time::{Duration, SystemTime};

use interlock_proto::v1;
use serde_json::{Value, json};

use super::Public;
use crate::client::Coordinators;
use crate::render::{liveness, now_millis, rfc3339, told_refusals};

/// How long before the end of a certificate it is told.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// How far this clock may be from the coordinator's, in milliseconds: the answer's way is in it.
const CLOCKS: u64 = 5_000;

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    what: String,
    good: bool,
    detail: String,
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: impl Into<String>, good: bool, detail: impl Into<String>) {
        self.0.push(Finding {
            what: what.into(),
            good,
            detail: detail.into(),
        });
    }

    /// How long a certificate is good; nothing is said of one that nobody has seen.
    fn certificate(&mut self, what: &str, ends: u64) {
        let Some(end) = rfc3339(ends) else {
            return;
        };
        let soon = u64::try_from(SOON.as_millis()).unwrap_or(u64::MAX);
        let left = ends.saturating_sub(now_millis());
        self.add(what, left > soon, format!("ends {end}"));
    }

    /// What is not well, a line each.
    pub(super) fn bad(&self) -> Vec<String> {
        let bad = self.0.iter().filter(|finding| !finding.good);
        bad.map(|finding| format!("{}: {}", finding.what, finding.detail))
            .collect()
    }
}

impl Public for Findings {
    fn public(&self) -> Value {
        let value = |finding: &Finding| json!({"what": finding.what, "good": finding.good, "detail": finding.detail});
        self.0.iter().map(value).collect()
    }
}

/// Looks at everything; a status is that of the coordinator that answered.
pub(super) async fn examine(coordinators: &Coordinators, status: Option<&v1::Status>) -> Findings {
    let mut found = Findings::default();
    for (address, ended) in coordinators.try_each().await {
        let (good, detail) = match ended {
            Ok(()) => (true, "answers, and its certificate is good".to_owned()),
            Err(why) => (false, why.to_string()),
        };
        found.add(format!("coordinator at {address}"), good, detail);
    }
    let end = coordinators.not_after();
    let ends = end
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |end| u64::try_from(end.as_millis()).unwrap_or(0));
    found.certificate("your certificate", ends);
    let Some(status) = status else {
        return found;
    };
    let apart = now_millis().abs_diff(status.at_ms);
    found.add(
        "clock of this machine and the coordinator's",
        apart <= CLOCKS,
        format!("{apart} ms apart"),
    );
    let own = env!("CARGO_PKG_VERSION");
    let same = |version: &str| version == own;
    found.add(
        "version of the coordinator",
        same(&status.version),
        format!("{}, this program is {own}", status.version),
    );
    let with_agents = status.nodes.iter().filter(|node| node.agentless.is_none());
    for node in with_agents {
        let (word, _) = liveness(node.liveness);
        let alive = node.liveness() == v1::Liveness::Alive;
        found.add(format!("agent of {}", node.node), alive, word);
        if alive {
            let detail = format!("{}, this program is {own}", node.agent_version);
            found.add(
                format!("version of the agent of {}", node.node),
                same(&node.agent_version),
                detail,
            );
            found.certificate(
                &format!("certificate of the agent of {}", node.node),
                node.certificate_ends_ms,
            );
            if !node.log_share.is_empty() {
                let share = format!("share for the logs of {}", node.node);
                found.add(share, false, &node.log_share);
            }
            if let Some(facts) = &node.facts {
                let what = format!("watchdog of {}", node.node);
                match (facts.watchdog.as_str(), facts.watchdog_trouble.as_str()) {
                    ("", "") => {}
                    (device, "") => found.add(what, true, device),
                    (_, why) => found.add(what, false, why),
                }
            }
            for refusal in told_refusals(node) {
                found.add(format!("agent of {}", node.node), false, &refusal.why);
            }
        }
    }
    found
}
