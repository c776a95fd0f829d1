//! Could the instance of a leased service be promoted, as far as its keeper sees?

use interlock_model::action::Part;
use interlock_model::observation::{InstanceState, Wanted};

use super::keeper::Keeper;
use super::seen::Seen;
use crate::roles::Readiness;
use crate::session::AssignedInstance;

impl Keeper {
    /// What those who promote have to know of it.
    pub(super) async fn readiness(
        &self,
        assigned: &AssignedInstance,
        parts: &[(Part, Seen)],
    ) -> Readiness {
        let unready = match self.unready(assigned, parts) {
            None => self.starts_by_itself(&assigned.primary_parts).await,
            why => why,
        };
        // What is promoted is the role's: who keeps that sees to it.
        let down = parts
            .iter()
            .find(|(part, seen)| !part.is_promoted() && (seen.state.is_down() || seen.broken));
        Readiness {
            unready,
            down: down.map(|(part, seen)| format!("{part} is {}", seen.text())),
        }
    }

    /// Why the instance of a leased service could not be promoted.
    fn unready(&self, assigned: &AssignedInstance, parts: &[(Part, Seen)]) -> Option<String> {
        if self.charge.session.is_open(&self.charge.service) {
            return Some("an attempt is open on it".to_owned());
        }
        if !self.charge.is_wanted() {
            return Some("it is not wanted running".to_owned());
        }
        let permit = self.charge.permit(&assigned.primary_parts);
        if let Err(refusal) = permit {
            return Some(refusal.to_string());
        }
        let mut parts_here = assigned.parts.iter();
        if let Some(why) = parts_here.find_map(|part| self.charge.managers.trouble_of(part)) {
            return Some(why);
        }
        let down = parts.iter().find(|(_, seen)| !seen.is_running());
        down.map(|(part, seen)| format!("{part} is {}", seen.text()))
    }

    /// Why a forced stop would not last: systemd starts a unit again that was killed (`Restart=`), whoever has killed it,
    /// and what only a primary has would run without a right. A server that starts at boot as well: its machine may have gone
    /// down in the moment in which its promotion has removed what makes that the start of a standby (safety rule D2).
    async fn starts_by_itself(&self, parts: &[Part]) -> Option<String> {
        let runners = self.charge.managers.runners();
        for part in parts {
            let Some(unit) = runners.unit(part) else {
                continue;
            };
            let Ok(state) = self.charge.managers.systemd.observe(unit).await else {
                continue;
            };
            if state.restarted_by_systemd {
                return Some(format!(
                    "systemd would start {unit} again after a forced stop: set Restart=no for it, its guard restarts it"
                ));
            }
            if part.postgres().is_some() && state.starts_at_boot() {
                return Some(format!(
                    "systemd would start {unit} at boot, maybe as a second primary: disable it; for a cluster of Debian's packages \
                     write \"manual\" into its start.conf, then `systemctl daemon-reload`"
                ));
            }
        }
        None
    }

    /// An instance of which there is nothing but what a primary has runs if that is wanted.
    pub(super) fn of_nothing(&self) -> Seen {
        let state = match self.charge.wanted() {
            Some(Wanted::Running) => InstanceState::Running,
            Some(Wanted::Stopped) | None => InstanceState::Stopped,
        };
        Seen {
            state,
            ..Seen::unknown("")
        }
    }
}
