//! How a server looks to who keeps its role.

use interlock_model::names::NodeName;
use interlock_model::postgres::Postgres;

use super::{Server, any_of};
use crate::postgres::{Facts, Lsn, Observed, Primary, Role, Source, Standby, Sync, Waits};
use crate::roles::{Condition, DataSight, Following, Waited};
use crate::run::managers::{Managers, chain};

/// Bytes of a page of the log (`XLOG_BLCKSZ`).
const LOG_PAGE: u64 = 8192;

/// How many ends of the log are remembered: of some seconds, by which a standby may be late.
const ENDS: usize = 32;

impl Managers {
    /// Looks at a server: what it is, and how far its data go.
    pub(in crate::run) async fn sight_of(&self, postgres: &Postgres) -> (Condition, DataSight) {
        let server = match self.servers.get(postgres) {
            Ok(server) => server,
            Err(why) => return (Condition::Unknown(why), DataSight::default()),
        };
        let run = self.look_at_run(server).await;
        let observed = server.observe().await;
        let nothing = DataSight::default();
        let gone = matches!(observed, Ok(Observed::Stopped))
            && (run.state.is_down() || self.starts_nothing(server, &run).await);
        match observed {
            Ok(Observed::Up(facts)) => server.looks(&facts),
            Ok(Observed::Stopped) if gone => (Condition::Down(run.text()), nothing),
            // What a dead server has left writes on, and its grip ends it.
            Ok(Observed::Busy { .. }) if run.state.is_down() => {
                (Condition::Down(run.text()), nothing)
            }
            Ok(Observed::Stopped) => (Condition::Unknown(run.text()), nothing),
            Ok(Observed::Busy { why, .. }) => (Condition::Unknown(why), nothing),
            Err(error) => (Condition::Unknown(chain(&error)), nothing),
        }
    }
}

impl Server {
    fn looks(&self, facts: &Facts) -> (Condition, DataSight) {
        match &facts.role {
            Role::Primary(primary) => {
                let promised = synchronous(primary, self.cluster.waits().as_ref());
                let promised = promised.filter(|_| self.known().degrading.is_none());
                let known = promised
                    .as_ref()
                    .map(|(node, _)| format!(", commits wait for {node}"));
                let position = self.settled(primary.flushed.0);
                let there = self.there(promised.as_ref().map(|(_, flushed)| flushed.0));
                let promised = promised.map(|(node, _)| Waited {
                    nodes: [node].into(),
                    known: there,
                });
                let (standbys, known) = (standbys(primary), known.unwrap_or_default());
                let sight = DataSight {
                    position,
                    synchronous: promised,
                    following: None,
                    score: None,
                    text: format!("timeline {}{standbys}{known}", facts.timeline),
                };
                (Condition::Up, sight)
            }
            Role::Standby(standby) => {
                let position = standby.received.max(standby.replayed).0;
                let sight = DataSight {
                    position: Some(position),
                    synchronous: None,
                    following: standby
                        .source
                        .as_ref()
                        .map(|source| following(standby, source)),
                    score: None,
                    text: format!("timeline {}{}", facts.timeline, source(standby)),
                };
                (Condition::Standby, sight)
            }
        }
    }

    /// The end of a primary's log as far as it is certainly the end of a record.
    ///
    /// What is flushed in the background ends with a page (`XLogBackgroundFlush`), which may be in the midst of a record. Nobody
    /// was told that it is written, and a server that dies then comes up without it: it would seem to have lost something.
    fn settled(&self, flushed: u64) -> Option<u64> {
        let mut known = self.known();
        let last = known.settled.back().copied();
        if last.is_some_and(|before| before > flushed) {
            // Another life of the server: what the one before had is not all in this one.
            known.settled.clear();
            known.there = None;
        }
        let new = known.settled.back().is_none_or(|last| *last < flushed);
        if new && (!flushed.is_multiple_of(LOG_PAGE) || known.settled.is_empty()) {
            known.settled.push_back(flushed);
        }
        if known.settled.len() > ENDS {
            known.settled.pop_front();
        }
        known.settled.back().copied()
    }

    /// How far the standby is known to have whole records that commits wait for and that has so much on disk; none for none.
    ///
    /// What it has may end in the midst of a record, and after a restart it says to have less. So this is the last end of a record
    /// that its primary had shown before.
    fn there(&self, flushed: Option<u64>) -> Option<u64> {
        let mut known = self.known();
        let ends = known.settled.iter().rev();
        let reached = flushed.and_then(|flushed| ends.copied().find(|end| *end <= flushed));
        known.there = flushed.and(reached.max(known.there));
        known.there
    }
}

/// Whom every commit waits for: those that are named one by one, for whom commits are proven to wait, who stream, and who have all
/// that was acknowledged before it was so. Nobody where a commit is acknowledged before a standby has it on disk.
///
/// What is proven is asked after the look at the server, and may be of names that were set since: only where both are of the
/// same names, they are of the same time.
fn synchronous(primary: &Primary, waits: Option<&Waits>) -> Option<(NodeName, Lsn)> {
    let proven = |waits: &&Waits| waits.names == primary.synchronous && primary.waits_for_disks();
    let waits = waits.filter(proven)?;
    // Where it is one of several, nobody knows which. And what is sent to a standby is sent by a process that ends the waits for it
    // until it has read that nobody waits for it any more: only then is that one shown as `async`.
    let mut counts = primary.standbys.iter().filter(|it| it.sync != Sync::Async);
    let only = counts.next().filter(|_| counts.next().is_none())?;
    if only.sync != Sync::Sync || !only.streaming {
        return None;
    }
    let flushed = only.flushed.filter(|flushed| *flushed >= waits.from)?;
    let name: NodeName = only.name.parse().ok()?;
    (primary.synchronous == any_of([name.clone()]).to_string()).then_some((name, flushed))
}

/// `, db2 streams (sync, 0 B behind)`.
fn standbys(primary: &Primary) -> String {
    let mut text = String::new();
    if !primary.synchronous.is_empty() && !primary.waits_for_disks() {
        text.push_str(&format!(", synchronous_commit is {}", primary.commit));
    }
    for standby in &primary.standbys {
        let what = if standby.streaming {
            "streams"
        } else {
            "catches up"
        };
        let sync = match standby.sync {
            Sync::Async => "async",
            Sync::Potential => "potential",
            Sync::Sync => "sync",
        };
        let lag = standby.flushed.map_or_else(
            || "lag unknown".to_owned(),
            |at| format!("{} B behind", primary.flushed.bytes_after(at)),
        );
        text.push_str(&format!(", {} {what} ({sync}, {lag})", standby.name));
    }
    text
}

fn following(standby: &Standby, source: &Source) -> Following {
    let behind = |at: Lsn| source.told.map(|told| told.bytes_after(at));
    Following {
        streaming: source.streaming,
        behind: behind(standby.received),
        applied_behind: behind(standby.replayed),
    }
}

/// `, streams from 10.0.0.1, 0 B behind`.
fn source(standby: &Standby) -> String {
    let Some(source) = &standby.source else {
        return ", follows nobody".to_owned();
    };
    let host = source.host.as_deref().unwrap_or("somebody");
    let lag = source.told.map_or_else(
        || "lag unknown".to_owned(),
        |told| format!("{} B behind", told.bytes_after(standby.received)),
    );
    let what = if source.streaming {
        "streams from"
    } else {
        "asks"
    };
    format!(", {what} {host}, {lag}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Receiver;

    fn primary(names: &str) -> Primary {
        let standby = Receiver {
            name: "db2".to_owned(),
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
            standbys: vec![standby],
        }
    }

    fn waits(names: &str) -> Waits {
        Waits {
            names: names.to_owned(),
            from: Lsn(1000),
        }
    }

    const NAMES: &str = r#"ANY 1 ("db2")"#;

    #[test]
    fn nobody_is_told_that_commits_wait_before_that_is_proven() {
        let shown = primary(NAMES);
        let db2: NodeName = "db2".parse().unwrap();
        assert_eq!(
            synchronous(&shown, Some(&waits(NAMES))),
            Some((db2, Lsn(1000)))
        );
        assert_eq!(synchronous(&shown, None), None);
        let other = waits(r#"ANY 1 ("db3")"#);
        assert_eq!(synchronous(&shown, Some(&other)), None, "set meanwhile");
    }

    #[test]
    fn nobody_is_told_that_commits_wait_if_they_end_before_a_standby_has_them_on_disk() {
        for (commit, waited) in [
            ("on", true),
            ("remote_apply", true),
            ("remote_write", false),
            ("local", false),
            ("off", false),
        ] {
            let shown = Primary {
                commit: commit.to_owned(),
                ..primary(NAMES)
            };
            let said = synchronous(&shown, Some(&waits(NAMES)));
            assert_eq!(said.is_some(), waited, "{commit}");
        }
    }

    #[test]
    fn a_standby_that_lacks_what_was_acknowledged_before_commits_waited_is_not_promised() {
        let mut shown = primary(NAMES);
        shown.standbys[0].flushed = Some(Lsn(999));
        assert_eq!(synchronous(&shown, Some(&waits(NAMES))), None);
        shown.standbys[0].flushed = None;
        assert_eq!(synchronous(&shown, Some(&waits(NAMES))), None, "unknown");
    }

    #[test]
    fn while_a_process_may_still_end_waits_for_the_standby_before_nothing_is_promised_of_the_next_one()
     {
        let before = |sync| Receiver {
            name: "db3".to_owned(),
            streaming: false,
            sync,
            ..primary(NAMES).standbys.remove(0)
        };
        for (sync, promised) in [
            (Sync::Potential, false),
            (Sync::Sync, false),
            (Sync::Async, true),
        ] {
            let mut shown = primary(NAMES);
            shown.standbys.push(before(sync));
            let said = synchronous(&shown, Some(&waits(NAMES)));
            assert_eq!(said.is_some(), promised, "{sync:?}");
        }
    }

    fn server() -> Server {
        Server {
            cluster: crate::postgres::Cluster::new(
                "main".parse().unwrap(),
                crate::config::Postgres {
                    data: "/data".into(),
                    programs: "/bin".into(),
                    config: None,
                    user: crate::config::Account::Ids(crate::shim::User { uid: 1, gid: 1 }),
                    host: crate::config::PostgresHost::Socket("/run".into()),
                    port: 5432,
                    login: "interlock".to_owned(),
                    database: "postgres".to_owned(),
                    passfile: None,
                    run: crate::config::Runner::Unit("postgresql.service".to_owned()),
                    aside: "/aside".into(),
                    aside_limit: 0,
                },
                "db1".parse().unwrap(),
            ),
            run: crate::config::Runner::Unit("postgresql.service".to_owned()),
            acting: tokio::sync::Mutex::default(),
            stirred: tokio::sync::Notify::new(),
            known: std::sync::Mutex::default(),
        }
    }

    #[test]
    fn of_a_standby_that_commits_wait_for_it_is_known_which_whole_records_it_has() {
        let server = server();
        let ends = [1000, 2000, 3000].map(|end| server.settled(end));
        assert_eq!(ends, [Some(1000), Some(2000), Some(3000)]);
        // In the midst of the one that ends at 3000.
        assert_eq!(server.there(Some(2500)), Some(2000));
        assert_eq!(
            server.settled(LOG_PAGE),
            Some(3000),
            "maybe in the midst of one"
        );
        assert_eq!(server.there(Some(3000)), Some(3000));
        // A receiver that begins anew may say less: it has it still, or it is another disk.
        assert_eq!(server.there(Some(2500)), Some(3000));
        assert_eq!(server.there(None), None, "nobody is waited for");
        assert_eq!(server.there(Some(2500)), Some(2000), "another one may be");
        assert_eq!(server.settled(1500), Some(1500), "it was started again");
        assert_eq!(server.there(Some(1499)), None);
    }

    #[test]
    fn of_several_standbys_nobody_knows_which_one_has_it() {
        let names = r#"ANY 1 ("db2", "db3")"#;
        assert_eq!(synchronous(&primary(names), Some(&waits(names))), None);
    }
}
