//! What a session carries of leases: reports out, words in.
//!
//! Both go round the desk. A renewal that waits behind a disk is a renewal that is lost, and a right that is lost with it
//! (safety rule E14). So reports wait in a [`LeaseMail`] per link, which holds the newest of each kind only, and words go
//! to whoever keeps the roles as soon as they are read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use interlock_engine::lease::holder::Event;
use interlock_engine::lease::leader::{Holding, Standing};
use interlock_engine::lease::{ReleaseReport, RenewRequest};
use interlock_model::ids::Term;
use interlock_model::lease::Epoch;
use interlock_model::names::ServiceName;
use interlock_proto::convert::{
    self, Invalid, holder_from_wire, holder_to_wire, synchrony_to_wire, terms_from_wire,
    terms_to_wire,
};
use interlock_proto::v1;
use interlock_proto::v1::lease_report::Report;
use tokio::sync::Notify;

/// What a coordinator says of the lease of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseWord {
    /// Which service.
    pub service: ServiceName,
    /// In which term it is said.
    pub term: Term,
    /// What.
    pub event: Event,
}

impl LeaseWord {
    /// Reads a message.
    ///
    /// # Errors
    /// If it cannot be understood, or its terms are not safe.
    pub(super) fn from_wire(wire: &v1::LeaseWord) -> Result<Self, Invalid> {
        use v1::lease_word::Word;
        let word = wire.word.as_ref();
        let event = match word.ok_or_else(|| Invalid::missing("lease.word"))? {
            Word::Renewed(renewed) => Event::Acknowledged {
                epoch: Epoch(renewed.epoch),
                sent: Duration::from_nanos(renewed.sent_ns),
                terms: terms(renewed.terms.as_ref())?,
            },
            Word::Over(epoch) => Event::Superseded(Epoch(*epoch)),
            Word::Heard(heard) => Event::Heard {
                epoch: Epoch(heard.epoch),
                holder: match &heard.holder {
                    None => None,
                    Some(holder) => Some(holder_from_wire(Some(holder))?),
                },
                witnessed: Epoch(heard.witnessed),
            },
            Word::Promote(promote) => Event::Promote {
                epoch: Epoch(promote.epoch),
                holder: holder_from_wire(promote.holder.as_ref())?,
                terms: terms(promote.terms.as_ref())?,
            },
            Word::Propose(wire) => Event::Propose(terms_from_wire(wire)?),
            Word::Release(epoch) => Event::Release(Epoch(*epoch)),
            Word::Cleared(v1::LeaseCleared {}) => Event::Cleared,
            Word::ReleaseWritten(epoch) => Event::ReleaseWritten(Epoch(*epoch)),
        };
        Ok(Self {
            service: convert::name("lease.service", &wire.service)?,
            term: Term(wire.term),
            event,
        })
    }

    /// Does it command? Then an older term than the highest that was obeyed has nothing to say (invariant I7). The others
    /// tell what is in the store, whoever has read it.
    #[must_use]
    pub fn commands(&self) -> bool {
        matches!(
            self.event,
            Event::Promote { .. } | Event::Propose(_) | Event::Release(_) | Event::Cleared
        )
    }
}

fn terms(wire: Option<&v1::LeaseTerms>) -> Result<interlock_model::lease::Terms, Invalid> {
    terms_from_wire(wire.ok_or_else(|| Invalid::missing("lease.terms"))?)
}

/// What an agent has to say of the lease of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseSay {
    /// Ask for a renewal.
    Renew(Box<RenewRequest>),
    /// What was given back.
    Release(ReleaseReport),
    /// How the instance stands.
    Standing(Box<Standing>),
}

/// What waits to be said to one coordinator of leases: of each service the newest of each kind. Filled by the thread that
/// keeps the roles, emptied by the link. While there is no session nothing is kept.
#[derive(Debug, Default)]
pub struct LeaseMail {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    open: bool,
    renewals: VecDeque<RenewRequest>,
    releases: VecDeque<ReleaseReport>,
    standings: BTreeMap<ServiceName, Standing>,
}

impl LeaseMail {
    /// Does a session stand?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lock().open
    }

    /// Says something in its turn: renewals before releases before standings, whatever was said first.
    pub fn say(&self, service: &ServiceName, say: LeaseSay) {
        {
            let mut waiting = self.lock();
            if !waiting.open {
                return;
            }
            match say {
                LeaseSay::Renew(request) => {
                    // An older one would be refused as outdated behind the newer.
                    waiting.renewals.retain(|it| it.service != *service);
                    waiting.renewals.push_back(*request);
                }
                LeaseSay::Release(report) => {
                    waiting.releases.retain(|it| it.service != *service);
                    waiting.releases.push_back(report);
                }
                LeaseSay::Standing(standing) => {
                    waiting.standings.insert(service.clone(), *standing);
                }
            }
        }
        self.filled.notify_one();
    }

    /// A session begins.
    pub(super) fn open(&self) {
        *self.lock() = Waiting {
            open: true,
            ..Waiting::default()
        };
    }

    /// The session is over.
    pub(super) fn close(&self) {
        *self.lock() = Waiting::default();
    }

    /// Waits for something to say.
    pub(super) async fn next(&self) -> v1::LeaseReport {
        loop {
            let filled = self.filled.notified();
            if let Some(report) = self.take() {
                return report;
            }
            filled.await;
        }
    }

    /// Something to say, if there is anything.
    pub(super) fn take(&self) -> Option<v1::LeaseReport> {
        let mut waiting = self.lock();
        if let Some(request) = waiting.renewals.pop_front() {
            return Some(renewal(&request));
        }
        if let Some(report) = waiting.releases.pop_front() {
            return Some(release(&report));
        }
        let (service, standing) = waiting.standings.pop_first()?;
        Some(v1::LeaseReport {
            service: service.to_string(),
            report: Some(Report::Standing(self::standing(&standing))),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every change is complete before anything can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nanoseconds for the wire; centuries fit.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn renewal(request: &RenewRequest) -> v1::LeaseReport {
    let renewal = v1::LeaseRenewal {
        holder: Some(holder_to_wire(&request.holder)),
        epoch: request.epoch.0,
        sent_ns: nanos(request.sent),
        terms: request.terms.as_ref().map(terms_to_wire),
        watchdog: request.safeguards.watchdog,
        client_path: request.safeguards.client_path,
        synchrony: synchrony_to_wire(&request.synchrony),
        position: request.position,
    };
    v1::LeaseReport {
        service: request.service.to_string(),
        report: Some(Report::Renewal(renewal)),
    }
}

fn release(report: &ReleaseReport) -> v1::LeaseReport {
    let release = v1::LeaseRelease {
        holder: Some(holder_to_wire(&report.holder)),
        epoch: report.epoch.0,
        began: report.began,
        position: report.position,
    };
    v1::LeaseReport {
        service: report.service.to_string(),
        report: Some(Report::Release(release)),
    }
}

fn standing(standing: &Standing) -> v1::LeaseStanding {
    v1::LeaseStanding {
        holder: Some(holder_to_wire(&standing.holder)),
        seen: standing.seen.0,
        reverted: standing.reverted,
        holding: standing.holding.as_ref().map(holding),
        mark: standing.mark.map(|epoch| epoch.0),
        follows: (standing.follows != Epoch::NONE).then_some(standing.follows.0),
        idle: standing.idle,
        promised: standing.promised,
        position: standing.position,
        unready: standing.unready.clone().unwrap_or_default(),
        unlinked: standing.unlinked.clone().unwrap_or_default(),
        hears: standing.hears,
        score: standing.score,
        up_ms: standing
            .up
            .map(|up| u64::try_from(up.as_millis()).unwrap_or(u64::MAX)),
    }
}

fn holding(holding: &Holding) -> v1::LeaseHolding {
    v1::LeaseHolding {
        epoch: holding.epoch.0,
        renewed_ns: nanos(holding.renewed),
        terms: holding.terms.as_ref().map(terms_to_wire),
        watchdog: holding.safeguards.watchdog,
        client_path: holding.safeguards.client_path,
        synchrony: synchrony_to_wire(&holding.synchrony),
    }
}

#[cfg(test)]
mod tests {
    use interlock_engine::lease::Safeguards;
    use interlock_model::ids::BootId;
    use interlock_model::lease::{Holder, Synchrony};

    use super::*;

    fn request(service: &str, sent: u64) -> RenewRequest {
        RenewRequest {
            service: service.parse().unwrap(),
            holder: Holder {
                node: "db1".parse().unwrap(),
                boot: BootId("b1".to_owned()),
            },
            epoch: Epoch(3),
            sent: Duration::from_nanos(sent),
            terms: None,
            safeguards: Safeguards::default(),
            synchrony: Synchrony::Off,
            position: None,
        }
    }

    #[test]
    fn the_newest_renewal_of_each_service_leaves_first_and_nothing_before_a_session() {
        let mail = LeaseMail::default();
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        mail.say(&a, LeaseSay::Renew(Box::new(request("a", 1))));
        mail.open();
        assert_eq!(mail.take(), None);
        let report = ReleaseReport {
            service: a.clone(),
            holder: request("a", 1).holder,
            epoch: Epoch(2),
            began: true,
            position: None,
        };
        mail.say(&a, LeaseSay::Release(report));
        mail.say(&a, LeaseSay::Renew(Box::new(request("a", 2))));
        mail.say(&b, LeaseSay::Renew(Box::new(request("b", 3))));
        mail.say(&a, LeaseSay::Renew(Box::new(request("a", 4))));
        let sent = |report: Option<v1::LeaseReport>| match report.and_then(|it| it.report) {
            Some(Report::Renewal(renewal)) => renewal.sent_ns,
            other => panic!("{other:?}"),
        };
        assert_eq!((sent(mail.take()), sent(mail.take())), (3, 4));
        let third = mail.take().and_then(|it| it.report);
        assert!(matches!(third, Some(Report::Release(_))), "{third:?}");
        assert_eq!(mail.take(), None);
    }

    #[test]
    fn a_word_with_terms_that_are_not_safe_is_none() {
        let wire = v1::LeaseWord {
            service: "db".to_owned(),
            term: 4,
            word: Some(v1::lease_word::Word::Propose(v1::LeaseTerms::default())),
        };
        assert!(LeaseWord::from_wire(&wire).is_err());
        let release = v1::LeaseWord {
            word: Some(v1::lease_word::Word::Release(7)),
            ..wire
        };
        let word = LeaseWord::from_wire(&release).unwrap();
        assert!(word.commands() && word.event == Event::Release(Epoch(7)));
    }
}
