//! Wire to core, what agents say of leases; core to wire, what they are told.

use std::time::Duration;

use interlock_engine::lease::leader::{Holding, Standing};
use interlock_engine::lease::{LeaseRecord, ReleaseReport, RenewRequest, Safeguards};
use interlock_model::lease::{Epoch, Holder, Terms};
use interlock_model::names::{NodeName, ServiceName};
use interlock_proto::convert::{
    Invalid, holder_from_wire, holder_to_wire, name, synchrony_from_wire, terms_from_wire,
    terms_to_wire,
};
use interlock_proto::v1;
use interlock_proto::v1::lease_report::Report as WireReport;
use interlock_proto::v1::lease_word::Word as WireWord;

/// The longest reason of a node that cannot be promoted, in bytes.
const MAX_UNREADY: usize = 300;

/// What an agent says of a lease.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// How it stands.
    Standing(Standing),
    /// It goes on.
    Renewal(RenewRequest),
    /// It has given the role back.
    Release(ReleaseReport),
}

/// What an agent is told of a lease. Nothing of it is a right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// A renewal is durable.
    Renewed {
        /// Of which epoch.
        epoch: Epoch,
        /// When it was sent, by its sender's clock.
        sent: Duration,
        /// The terms of the record that it wrote.
        terms: Terms,
    },
    /// An epoch is over for this node.
    Over(Epoch),
    /// What the store has.
    Heard {
        /// The current epoch.
        epoch: Epoch,
        /// Its holder.
        holder: Option<Holder>,
        /// What the node has once said to have seen.
        witnessed: Epoch,
    },
    /// Be primary, if a renewal of it is acknowledged.
    Promote {
        /// Which boot of the node.
        to: Holder,
        /// In which epoch.
        epoch: Epoch,
        /// The terms of the record.
        terms: Terms,
    },
    /// Other terms to be accepted with a renewal.
    Propose(Terms),
    /// Give this epoch back.
    Release(Epoch),
    /// A person has looked at the node.
    Cleared,
    /// The release of this epoch is durable.
    ReleaseWritten(Epoch),
}

impl Word {
    /// What a record says to one of its members.
    pub(super) fn heard(record: &LeaseRecord, node: &NodeName) -> Self {
        Self::Heard {
            epoch: record.epoch(),
            holder: record.holder().cloned(),
            witnessed: record.witnessed(node),
        }
    }
}

/// What the agent of `node` says, in the core's words.
///
/// # Errors
/// If something of it is none, or it speaks for another node: it has a certificate of its own only.
pub(super) fn report(
    wire: &v1::LeaseReport,
    node: &NodeName,
) -> Result<(ServiceName, Report), Invalid> {
    let service: ServiceName = name("lease.service", &wire.service)?;
    let report = match &wire.report {
        None => return Err(Invalid::missing("lease.report")),
        Some(WireReport::Standing(wire)) => Report::Standing(standing(wire)?),
        Some(WireReport::Renewal(wire)) => Report::Renewal(renewal(&service, wire)?),
        Some(WireReport::Release(wire)) => Report::Release(ReleaseReport {
            service: service.clone(),
            holder: holder_from_wire(wire.holder.as_ref())?,
            epoch: Epoch(wire.epoch),
            began: wire.began,
            position: wire.position,
        }),
    };
    let speaks_for = match &report {
        Report::Standing(standing) => &standing.holder.node,
        Report::Renewal(request) => &request.holder.node,
        Report::Release(report) => &report.holder.node,
    };
    if speaks_for != node {
        return Err(Invalid::new(
            "lease.holder.node",
            format!("is {speaks_for}, and the session is that of {node}"),
        ));
    }
    Ok((service, report))
}

fn standing(wire: &v1::LeaseStanding) -> Result<Standing, Invalid> {
    Ok(Standing {
        holder: holder_from_wire(wire.holder.as_ref())?,
        seen: Epoch(wire.seen),
        reverted: wire.reverted,
        holding: wire.holding.as_ref().map(holding).transpose()?,
        mark: wire.mark.map(Epoch),
        follows: wire.follows.map(Epoch).unwrap_or_default(),
        up: wire.up_ms.map(Duration::from_millis),
        idle: wire.idle,
        promised: wire.promised,
        position: wire.position,
        unready: reason(&wire.unready),
        rests: None,
        unlinked: reason(&wire.unlinked),
        hears: wire.hears,
        score: wire.score,
    })
}

/// The words of an agent, which are passed on to people.
fn reason(said: &str) -> Option<String> {
    let mut said = said.to_owned();
    if said.len() > MAX_UNREADY {
        said.truncate(said.floor_char_boundary(MAX_UNREADY));
        said.push('…');
    }
    (!said.is_empty()).then_some(said)
}

fn holding(wire: &v1::LeaseHolding) -> Result<Holding, Invalid> {
    Ok(Holding {
        epoch: Epoch(wire.epoch),
        renewed: Duration::from_nanos(wire.renewed_ns),
        terms: wire.terms.as_ref().map(terms_from_wire).transpose()?,
        safeguards: Safeguards {
            watchdog: wire.watchdog,
            client_path: wire.client_path,
        },
        synchrony: synchrony_from_wire(wire.synchrony.as_ref())?,
    })
}

fn renewal(service: &ServiceName, wire: &v1::LeaseRenewal) -> Result<RenewRequest, Invalid> {
    Ok(RenewRequest {
        service: service.clone(),
        holder: holder_from_wire(wire.holder.as_ref())?,
        epoch: Epoch(wire.epoch),
        sent: Duration::from_nanos(wire.sent_ns),
        terms: wire.terms.as_ref().map(terms_from_wire).transpose()?,
        safeguards: Safeguards {
            watchdog: wire.watchdog,
            client_path: wire.client_path,
        },
        synchrony: synchrony_from_wire(wire.synchrony.as_ref())?,
        position: wire.position,
    })
}

/// What an agent is told, for the wire.
pub(super) fn word(service: &ServiceName, term: u64, word: &Word) -> v1::LeaseWord {
    let word = match word {
        Word::Renewed { epoch, sent, terms } => WireWord::Renewed(v1::LeaseRenewed {
            epoch: epoch.0,
            // 584 years of a clock that begins at a boot.
            sent_ns: u64::try_from(sent.as_nanos()).unwrap_or(u64::MAX),
            terms: Some(terms_to_wire(terms)),
        }),
        Word::Over(epoch) => WireWord::Over(epoch.0),
        Word::Heard {
            epoch,
            holder,
            witnessed,
        } => WireWord::Heard(v1::LeaseHeard {
            epoch: epoch.0,
            holder: holder.as_ref().map(holder_to_wire),
            witnessed: witnessed.0,
        }),
        Word::Promote { to, epoch, terms } => WireWord::Promote(v1::LeasePromote {
            epoch: epoch.0,
            holder: Some(holder_to_wire(to)),
            terms: Some(terms_to_wire(terms)),
        }),
        Word::Propose(terms) => WireWord::Propose(terms_to_wire(terms)),
        Word::Release(epoch) => WireWord::Release(epoch.0),
        Word::Cleared => WireWord::Cleared(v1::LeaseCleared {}),
        Word::ReleaseWritten(epoch) => WireWord::ReleaseWritten(epoch.0),
    };
    v1::LeaseWord {
        service: service.to_string(),
        term,
        word: Some(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_in_the_name_of_another_node_is_none() {
        let release = v1::LeaseRelease {
            holder: Some(v1::LeaseHolder {
                node: "db1".to_owned(),
                boot_id: "b".to_owned(),
            }),
            epoch: 3,
            began: true,
            position: None,
        };
        let wire = v1::LeaseReport {
            service: "db".to_owned(),
            report: Some(WireReport::Release(release)),
        };
        let (db1, db2) = ("db1".parse().unwrap(), "db2".parse().unwrap());
        let (service, own) = report(&wire, &db1).unwrap();
        assert_eq!(service.as_str(), "db");
        assert!(matches!(own, Report::Release(report) if report.epoch == Epoch(3)));
        let refused = report(&wire, &db2).unwrap_err();
        assert_eq!(refused.field, "lease.holder.node", "{refused}");
    }
}
