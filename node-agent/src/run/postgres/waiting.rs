//! Whom the commits of a primary are to wait for (safety rule D1).

use interlock_model::names::NodeName;
use interlock_model::postgres::{Peer, Synchronous as Mode};

use super::any_of;
use crate::postgres::{Primary, Synchronous};

/// What is to be done about whom commits wait for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nothing.
    AsIs,
    /// The record must say first that they wait for nobody.
    Ask,
    /// They are to wait for these; none for nobody.
    For(Option<Synchronous>),
}

/// What that depends on.
#[derive(Debug)]
pub(super) struct Question<'q> {
    /// What the spec says.
    pub(super) mode: Mode,
    /// Where the other instances are.
    pub(super) peers: &'q [Peer],
    /// The server, as it was seen.
    pub(super) primary: &'q Primary,
    /// Are commits proven to wait for whom it shows?
    pub(super) proven: bool,
    /// Does the record say that they wait for nobody, since that was asked for by the request that is under way?
    pub(super) permitted: bool,
    /// May the record say that they wait for somebody, as far as the role knows?
    pub(super) promised: bool,
}

impl Question<'_> {
    /// Decides. Commits wait for one standby that streams, by its name: then it is known which one has them.
    pub(super) fn answer(&self) -> Waiting {
        let now = self.primary.synchronous.as_str();
        let nodes = || self.peers.iter().map(|peer| &peer.node);
        let sure = nodes().find(|node| now == any_of([(*node).clone()]).to_string());
        let other = nodes().find(|node| self.streams(node));
        let other = other.map(|node| any_of([node.clone()]));
        // Where commits wait for one standby, the record may say so.
        let shown = sure.is_some() || (!now.is_empty() && self.mode == Mode::Off);
        // It may say so as well where that is not so: somebody else has changed a setting.
        let kept = sure.is_some() && self.primary.waits_for_disks();
        let unkept = self.promised && !kept;
        let wanted = match (self.mode, sure) {
            (Mode::Off, _) => None,
            (Mode::On | Mode::Strict, Some(node)) if self.streams(node) => {
                Some(any_of([node.clone()]))
            }
            (Mode::On, _) => other,
            (Mode::Strict, _) => Some(other.unwrap_or_else(|| any_of(nodes().cloned()))),
        };
        let same = match &wanted {
            Some(wanted) => wanted.to_string() == now,
            None => now.is_empty(),
        };
        if same && !unkept && (wanted.is_none() || self.proven) {
            Waiting::AsIs
        } else if (unkept || (shown && !same)) && !self.permitted {
            Waiting::Ask
        } else {
            // To set what is set already weakens nothing, and proves it.
            Waiting::For(wanted)
        }
    }

    fn streams(&self, node: &NodeName) -> bool {
        let mut standbys = self.primary.standbys.iter();
        standbys.any(|standby| standby.name == node.as_str() && standby.streaming)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{Lsn, Receiver, Sync};

    /// A primary with these names set, from which these stream.
    fn primary(names: &str, streaming: &[&str]) -> Primary {
        let receiver = |name: &&str| Receiver {
            name: (*name).to_owned(),
            address: None,
            streaming: true,
            sync: Sync::Sync,
            flushed: Some(Lsn(1000)),
            replayed: Some(Lsn(1000)),
        };
        Primary {
            flushed: Lsn(1000),
            read_only: false,
            synchronous: names.to_owned(),
            commit: "on".to_owned(),
            standbys: streaming.iter().map(receiver).collect(),
        }
    }

    fn peers() -> Vec<Peer> {
        let peer = |name: &str| Peer {
            node: name.parse().unwrap(),
            address: "10.0.0.1".to_owned(),
        };
        vec![peer("db2"), peer("db3")]
    }

    fn question<'q>(mode: Mode, peers: &'q [Peer], primary: &'q Primary) -> Question<'q> {
        Question {
            mode,
            peers,
            primary,
            proven: true,
            permitted: false,
            promised: false,
        }
    }

    fn only(name: &str) -> Synchronous {
        any_of([name.parse().unwrap()])
    }

    const DB2: &str = r#"ANY 1 ("db2")"#;

    #[test]
    fn names_that_are_shown_are_set_again_until_it_is_proven_that_commits_wait() {
        let (peers, primary) = (peers(), primary(DB2, &["db2"]));
        let proven = question(Mode::On, &peers, &primary);
        assert_eq!(proven.answer(), Waiting::AsIs);
        let shown = Question {
            proven: false,
            ..question(Mode::On, &peers, &primary)
        };
        assert_eq!(shown.answer(), Waiting::For(Some(only("db2"))));
    }

    #[test]
    fn commits_wait_for_less_only_when_the_record_says_so() {
        let peers = peers();
        for (streaming, then) in [(vec![], None), (vec!["db3"], Some(only("db3")))] {
            let primary = primary(DB2, &streaming);
            let asks = question(Mode::On, &peers, &primary);
            assert_eq!(asks.answer(), Waiting::Ask);
            let permitted = Question {
                permitted: true,
                ..question(Mode::On, &peers, &primary)
            };
            assert_eq!(permitted.answer(), Waiting::For(then));
        }
    }

    #[test]
    fn a_promise_that_the_server_does_not_keep_is_taken_back() {
        let (peers, primary) = (peers(), primary("", &[]));
        let promised = Question {
            promised: true,
            ..question(Mode::On, &peers, &primary)
        };
        assert_eq!(promised.answer(), Waiting::Ask);
        let nothing = question(Mode::On, &peers, &primary);
        assert_eq!(nothing.answer(), Waiting::AsIs);
        let early = Primary {
            commit: "local".to_owned(),
            ..self::primary(DB2, &["db2"])
        };
        let promised = Question {
            promised: true,
            ..question(Mode::On, &peers, &early)
        };
        assert_eq!(promised.answer(), Waiting::Ask);
    }

    #[test]
    fn what_is_strict_never_waits_for_nobody() {
        let (peers, primary) = (peers(), primary(DB2, &[]));
        let permitted = Question {
            permitted: true,
            ..question(Mode::Strict, &peers, &primary)
        };
        let anybody = any_of(peers.iter().map(|peer| peer.node.clone()));
        assert_eq!(permitted.answer(), Waiting::For(Some(anybody)));
    }
}
