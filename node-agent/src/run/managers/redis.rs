//! Redis servers: started as replicas, and stopped, by what runs them.

use std::time::Duration;

use interlock_model::observation::InstanceState;
use interlock_model::redis::Redis;

use super::{Managers, chain};
use crate::redis::{Observed, Role};
use crate::run::errand::{Errand, Trouble};
use crate::run::redis::Server;
use crate::run::seen::{Restarter, Seen};

/// The pause between two looks at a server that starts.
const LOOK: Duration = Duration::from_millis(50);

/// How long what precedes a start may take.
const START: Duration = Duration::from_secs(30);

impl Managers {
    /// Looks at what runs a server. Nobody starts it again but who keeps it following.
    pub(super) async fn look_at_redis(&self, redis: &Redis) -> Seen {
        match self.redis.get(redis) {
            Ok(server) => Seen {
                restarter: Restarter::Nobody,
                ..self.look_at_runner(&server.run).await
            },
            Err(why) => Seen::unknown(why),
        }
    }

    /// Starts a server as a replica, in its turn.
    pub(super) async fn bring_redis_up(
        &self,
        redis: &Redis,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let server = self.redis.get(redis).map_err(Trouble::Failed)?;
        let _acting = errand.turn(&server.acting).await?;
        self.start_replica(server, errand).await
    }

    /// Starts a server as a replica, and waits until it has read its data. By who has it in hand.
    pub(in crate::run) async fn start_replica(
        &self,
        server: &Server,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        if self.look_at_runner(&server.run).await.state.is_down() {
            // Something of a killed one may be left.
            self.take_runner_down(&server.run, errand).await?;
            let prepared = server.redis.prepare_start(START).await;
            prepared.map_err(|error| Trouble::Failed(chain(&error)))?;
            self.bring_runner_up(&server.run, errand).await?;
        }
        let mut last = String::new();
        loop {
            match server.observe().await {
                Ok(Observed::Up(facts)) => match &facts.role {
                    Role::Replica(_) if facts.loading => "it reads its data".clone_into(&mut last),
                    Role::Replica(_) => {
                        let data = facts.data();
                        let at = data.map_or_else(
                            || "it does not know how far its data go".to_owned(),
                            |data| format!("its data go to {}", data.offset),
                        );
                        return Ok(format!("a replica, {at}"));
                    }
                    Role::Primary(_) => {
                        let text = "it is no replica although it was to be started as one";
                        return match self.take_runner_down(&server.run, errand).await {
                            Ok(_) => Err(Trouble::Failed(format!("{text}; stopped"))),
                            Err(trouble) => {
                                Err(Trouble::unknown(format!("{text}; {trouble}"), true))
                            }
                        };
                    }
                },
                Ok(Observed::Stopped) => "nobody listens at its port".clone_into(&mut last),
                Err(error) => last = chain(&error),
            }
            let run = self.look_at_runner(&server.run).await;
            if run.state.is_down() || run.state == InstanceState::Unknown {
                return Err(Trouble::Failed(format!(
                    "it does not come up: {}",
                    run.text()
                )));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                halt = errand.halted() => {
                    return Err(Trouble::unknown(format!("{halt} while it came up: {last}"), true));
                }
            }
        }
    }

    /// Stops a server, in its turn. What it has is written to its disk before.
    pub(super) async fn take_redis_down(
        &self,
        redis: &Redis,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let server = self.redis.get(redis).map_err(Trouble::Failed)?;
        let _acting = errand.turn(&server.acting).await?;
        self.take_runner_down(&server.run, errand).await
    }
}
