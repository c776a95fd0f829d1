//! A systemd unit that is active.

use interlock_model::check::ProbeResult;

use super::outcome::{bad, ok, unknown};
use crate::systemd::{Activity, Error, Systemd};

pub(super) async fn probe(systemd: &Systemd, unit: &str) -> ProbeResult {
    match systemd.activity(unit).await {
        Ok(Activity::Running) => ok(format!("{unit} is active")),
        Ok(Activity::Unknown) => unknown(format!(
            "{unit} is in a state that this agent does not know"
        )),
        // On its way is not there: a gate that needs it has to wait.
        Ok(
            activity @ (Activity::Starting
            | Activity::Stopping
            | Activity::Stopped
            | Activity::Failed),
        ) => bad(format!("{unit} is {activity}")),
        Err(error @ Error::NoSuchUnit { .. }) => bad(error.to_string()),
        Err(error) => unknown(error.to_string()),
    }
}
