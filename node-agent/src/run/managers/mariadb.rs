//! MariaDB servers: started as read-only replicas, and stopped, by what runs them.

use std::time::Duration;

use interlock_model::mariadb::Mariadb;
use interlock_model::observation::InstanceState;

use super::{Managers, chain};
use crate::mariadb::Observed;
use crate::run::errand::{Errand, Trouble};
use crate::run::mariadb::Server;
use crate::run::seen::{Restarter, Seen};

/// The pause between two looks at a server that starts.
const LOOK: Duration = Duration::from_millis(100);

impl Managers {
    /// Looks at what runs a server. Nobody starts it again but who keeps it following.
    pub(super) async fn look_at_mariadb(&self, mariadb: &Mariadb) -> Seen {
        match self.mariadb.get(mariadb) {
            Ok(server) => Seen {
                restarter: Restarter::Nobody,
                ..self.look_at_runner(&server.run).await
            },
            Err(why) => Seen::unknown(why),
        }
    }

    /// Starts a server as a read-only one, in its turn.
    pub(super) async fn bring_mariadb_up(
        &self,
        mariadb: &Mariadb,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let server = self.mariadb.get(mariadb).map_err(Trouble::Failed)?;
        let _acting = errand.turn(&server.acting).await?;
        self.start_read_only(server, errand).await
    }

    /// Starts a server as a read-only one, and waits until it answers. By who has it in hand.
    pub(in crate::run) async fn start_read_only(
        &self,
        server: &Server,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        if self.look_at_runner(&server.run).await.state.is_down() {
            // Something of a killed one may hold its data.
            self.take_runner_down(&server.run, errand).await?;
            let prepared = server.mariadb.prepare_start().await;
            prepared.map_err(|error| Trouble::Failed(chain(&error)))?;
            self.bring_runner_up(&server.run, errand).await?;
        }
        let mut last = String::new();
        loop {
            match server.observe().await {
                Ok(Observed::Up(facts)) if facts.read_only => {
                    let at = facts.last().map_or_else(
                        || "it has no transactions".to_owned(),
                        |last| format!("its data go to {last}"),
                    );
                    return Ok(format!("read-only, {at}"));
                }
                Ok(Observed::Up(_)) => {
                    let text = "it takes writes although it was to be started read-only";
                    return match self.take_runner_down(&server.run, errand).await {
                        Ok(_) => Err(Trouble::Failed(format!("{text}; stopped"))),
                        Err(trouble) => Err(Trouble::unknown(format!("{text}; {trouble}"), true)),
                    };
                }
                Ok(Observed::Stopped) => "nobody listens at its socket".clone_into(&mut last),
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

    /// Stops a server, in its turn.
    pub(super) async fn take_mariadb_down(
        &self,
        mariadb: &Mariadb,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let server = self.mariadb.get(mariadb).map_err(Trouble::Failed)?;
        let _acting = errand.turn(&server.acting).await?;
        self.take_runner_down(&server.run, errand).await
    }
}
