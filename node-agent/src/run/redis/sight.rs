//! How a server looks to who keeps its role.

use interlock_model::redis::Redis;

use super::Server;
use crate::redis::{Data, Facts, Observed, Role};
use crate::roles::{Condition, DataSight, Following};
use crate::run::managers::{Managers, chain};

impl Managers {
    /// Looks at a server: what it is, and how far its data go.
    pub(in crate::run) async fn sight_of_redis(&self, redis: &Redis) -> (Condition, DataSight) {
        let server = match self.redis.get(redis) {
            Ok(server) => server,
            Err(why) => return (Condition::Unknown(why), DataSight::default()),
        };
        let run = self.look_at_runner(&server.run).await;
        let told = server.told();
        let observed = server.observe().await;
        let nothing = DataSight::default();
        match observed {
            Ok(Observed::Up(facts)) => server.looks(&facts, told.as_ref()),
            Ok(Observed::Stopped) if run.state.is_down() => (Condition::Down(run.text()), nothing),
            Ok(Observed::Stopped) => (Condition::Unknown(run.text()), nothing),
            Err(error) => (Condition::Unknown(chain(&error)), nothing),
        }
    }
}

impl Server {
    fn looks(&self, facts: &Facts, told: Option<&Data>) -> (Condition, DataSight) {
        let (condition, following) = match &facts.role {
            Role::Primary(_) => (Condition::Up, None),
            Role::Replica(replica) if !replica.read_only => {
                let why = "it is a replica that takes writes: set replica-read-only yes";
                return (Condition::Unknown(why.to_owned()), DataSight::default());
            }
            Role::Replica(replica) => {
                let following = Following {
                    streaming: replica.linked,
                    // It knows only what has arrived.
                    behind: None,
                    applied_behind: None,
                };
                (Condition::Standby, Some(following))
            }
        };
        let sight = DataSight {
            position: self.position(facts, told),
            synchronous: None,
            text: text(facts),
            following,
            score: None,
        };
        (condition, sight)
    }

    /// Why its data are not those that it had when it last followed, or led: it was started with older ones, or with none.
    ///
    /// Against what it was `told` to have before it was looked at: somebody else may have looked since.
    pub(super) fn not_what_it_had(&self, facts: &Facts, told: Option<&Data>) -> Option<String> {
        // A save point of its term is of the line that is noted, and older than what it had.
        if self.note.has_led_before(&facts.run_id) {
            let note = self.note.path().display();
            return Some(format!(
                "it was started again after it led, and what it had in memory alone is gone: it is to follow one that has more; where \
                 nothing has, end the agent, remove {note}, and start it"
            ));
        }
        let data = facts.data();
        let same = |data: &Data| self.note.is(&data.line);
        if self.note.is_any() && !data.as_ref().is_some_and(same) {
            return Some(
                "its data are not what it had when it was last seen to follow or to lead, but older, or none".to_owned(),
            );
        }
        let data = data?;
        let told = told?;
        let less = told.line == data.line && told.offset > data.offset;
        less.then(|| {
            format!(
                "its data go to {}, and it was seen to have them to {}: it was started with older ones",
                data.offset, told.offset
            )
        })
    }

    /// How far its data go, if they are known to be of the line that they should be of.
    fn position(&self, facts: &Facts, told: Option<&Data>) -> Option<u64> {
        let data = facts.data()?;
        let is_known = match &facts.role {
            Role::Replica(_) => {
                self.note.is(&data.line) && self.not_what_it_had(facts, told).is_none()
            }
            Role::Primary(_) => {
                // Had it stopped counting in between, an offset of before would be none of now.
                let mut known = self.known();
                let line = known.counted.get_or_insert_with(|| data.line.clone());
                *line == data.line
            }
        };
        if !is_known {
            return None;
        }
        self.known().tell(&data);
        Some(data.offset)
    }
}

fn text(facts: &Facts) -> String {
    let at = facts.data().map_or_else(
        || "offset unknown".to_owned(),
        |data| format!("offset {}", data.offset),
    );
    match &facts.role {
        Role::Primary(primary) => {
            let mut text = at;
            for replica in &primary.replicas {
                let what = if replica.online {
                    "streams"
                } else {
                    "is being filled"
                };
                let lag = primary.offset.map_or_else(
                    || "lag unknown".to_owned(),
                    |offset| {
                        format!(
                            "{} B not acknowledged",
                            offset.saturating_sub(replica.offset)
                        )
                    },
                );
                text.push_str(&format!(", {} {what} ({lag})", replica.address));
            }
            text
        }
        Role::Replica(replica) => {
            let what = if facts.loading {
                "reads its data, is to follow"
            } else if replica.copying {
                "is being filled from"
            } else if replica.linked {
                "streams from"
            } else if replica.follows_nobody() {
                return format!("{at}, follows nobody");
            } else {
                "asks"
            };
            format!("{at}, {what} {}", replica.host)
        }
    }
}
