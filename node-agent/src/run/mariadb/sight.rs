//! How a server looks to who keeps its role.

use interlock_model::mariadb::Mariadb;

use crate::mariadb::{Facts, Link, Observed, Source};
use crate::roles::{Condition, DataSight, Following};
use crate::run::managers::{Managers, chain};

impl Managers {
    /// Looks at a server: what it is, and how far its data go.
    pub(in crate::run) async fn sight_of_mariadb(
        &self,
        mariadb: &Mariadb,
    ) -> (Condition, DataSight) {
        let server = match self.mariadb.get(mariadb) {
            Ok(server) => server,
            Err(why) => return (Condition::Unknown(why), DataSight::default()),
        };
        let run = self.look_at_runner(&server.run).await;
        let observed = server.observe().await;
        let nothing = DataSight::default();
        match observed {
            Ok(Observed::Up(facts)) => {
                let (condition, mut sight) = looks(&facts);
                // What it has of others is less than its number says.
                sight.position = sight
                    .position
                    .filter(|_| server.written_here(&facts).is_none());
                (condition, sight)
            }
            Ok(Observed::Stopped) if run.state.is_down() => (Condition::Down(run.text()), nothing),
            Ok(Observed::Stopped) => (Condition::Unknown(run.text()), nothing),
            Err(error) => (Condition::Unknown(chain(&error)), nothing),
        }
    }
}

fn looks(facts: &Facts) -> (Condition, DataSight) {
    let condition = match facts.read_only {
        true => Condition::Standby,
        false => Condition::Up,
    };
    let following = facts.read_only.then(|| Following {
        streaming: facts.source().is_some_and(Source::runs),
        // It knows only what has arrived.
        behind: None,
        applied_behind: None,
    });
    let sight = DataSight {
        // What is not one number cannot be compared: nobody knows how far it is.
        position: facts.position().ok(),
        synchronous: None,
        following,
        score: None,
        text: text(facts),
    };
    (condition, sight)
}

/// `GTID 0-1-100, streams from 10.0.0.1 (0 s behind)`.
fn text(facts: &Facts) -> String {
    let at = facts.last().map_or_else(
        || "no transactions".to_owned(),
        |last| format!("GTID {last}"),
    );
    let Some(source) = facts.source() else {
        return match facts.read_only {
            true => format!("{at}, follows nobody"),
            false => at,
        };
    };
    if let Some(why) = source.broken() {
        return format!("{at}, replication is broken: {why}");
    }
    let what = match (source.link, source.applies) {
        (Link::Up, true) => "streams from",
        (Link::Up, false) => "receives, and does not apply, what comes from",
        (Link::Connecting, _) => "asks",
        (Link::Stopped, _) => "is to follow, and asks no more,",
    };
    let lag = source
        .lag
        .map_or_else(|| "lag unknown".to_owned(), |lag| format!("{lag} s behind"));
    format!("{at}, {what} {} ({lag})", source.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(read_only: bool, source: Option<Source>) -> Facts {
        Facts {
            read_only,
            server_id: 2,
            domain: 0,
            written: "0-1-100".parse().unwrap(),
            history: "0-1-100".parse().unwrap(),
            applied: "0-1-100".parse().unwrap(),
            sources: source.into_iter().collect(),
        }
    }

    fn source(link: Link, applies: bool, lag: Option<u64>) -> Source {
        Source {
            name: String::new(),
            host: "10.0.0.1".to_owned(),
            port: 3306,
            link,
            link_error: None,
            applies,
            apply_error: None,
            received: "0-1-120".parse().unwrap(),
            lag,
        }
    }

    #[test]
    fn a_position_is_what_is_applied_and_not_what_has_arrived() {
        let (condition, sight) = looks(&facts(true, Some(source(Link::Up, true, Some(3)))));
        assert_eq!((condition, sight.position), (Condition::Standby, Some(100)));
        assert!(sight.following.unwrap().streaming);
        assert_eq!(
            sight.text,
            "GTID 0-1-100, streams from 10.0.0.1 (3 s behind)"
        );
    }

    #[test]
    fn a_replica_that_does_not_apply_does_not_stream_and_its_lag_is_unknown() {
        let (_, sight) = looks(&facts(true, Some(source(Link::Up, false, None))));
        assert!(!sight.following.unwrap().streaming);
        assert!(sight.text.contains("lag unknown"), "{}", sight.text);
    }

    #[test]
    fn a_server_that_takes_writes_follows_nobody_for_who_asks() {
        let (condition, sight) = looks(&facts(false, None));
        assert_eq!((condition, sight.following), (Condition::Up, None));
    }
}
