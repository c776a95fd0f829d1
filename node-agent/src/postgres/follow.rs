//! Whom a standby follows.
//!
//! The signal file comes first: whatever happens between it and the settings, the server is a standby at its next start, of whom it
//! followed before at worst.

use std::time::Duration;

use super::cluster::Site;
use super::deadline::Deadline;
use super::layout::Layout;
use super::local::Talk;
use super::settings::{self, Setting};
use super::{Trouble, Upstream, files, holders};
use crate::shim::ProcessRef;

/// The pause between two looks at whether a setting is in force.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// From when on a server follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// It is stopped.
    AtNextStart,
    /// It runs, and its receiver has been told.
    InForce,
    /// It runs and lets nobody in yet, so it cannot be asked: it has been told.
    Told,
}

/// Sets whom the server follows.
pub(super) async fn follow(
    site: &Site,
    upstream: Option<&Upstream>,
    deadline: Deadline,
) -> Result<Followed, Trouble> {
    let wanted = settings(site, upstream);
    match Talk::local(&site.config, site.layout.owner, deadline).await {
        Ok(mut talk) => {
            let recovery = talk.value("SELECT pg_catalog.pg_is_in_recovery()");
            if deadline.within(recovery).await? != "t" {
                return Err(Trouble::IsPrimary);
            }
            write(site, wanted.clone(), deadline).await?;
            reload(site, deadline).await?;
            for (name, value) in wanted.into_iter().filter(|(name, _)| *name != TARGET) {
                in_force(
                    &mut talk,
                    name,
                    value.as_deref().unwrap_or_default(),
                    deadline,
                )
                .await?;
            }
            talk.close().await;
            Ok(Followed::InForce)
        }
        Err(Trouble::Closed(_) | Trouble::Connect(..)) => {
            let layout = site.layout.clone();
            let held = site
                .blocking(deadline, move || begin_closed(&layout))
                .await?;
            write(site, wanted, deadline).await?;
            if held {
                reload(site, deadline).await?;
                Ok(Followed::Told)
            } else {
                Ok(Followed::AtNextStart)
            }
        }
        Err(trouble) => Err(trouble),
    }
}

/// A server that cannot be asked: is it there? If it is, it has begun as a standby, or it must not be touched: a server removes
/// its signal file when it becomes a primary.
fn begin_closed(layout: &Layout) -> Result<bool, Trouble> {
    let held = holders::holders(&layout.places(), layout.owner)?;
    if held.is_empty() {
        let place = layout.settle()?;
        layout.need_data(place)?;
        layout.need_no_recovery_conf()?;
        return Ok(false);
    }
    let standby = files::exists(&layout.data.join(super::layout::STANDBY))?;
    if standby && holders::postmaster(&layout.data)?.is_some() {
        return Ok(true);
    }
    Err(Trouble::Busy(
        held.iter().map(|process| process.pid).collect(),
    ))
}

/// How the receiver reaches whom it follows. What others have written there may hold a password.
const CONNINFO: &str = "primary_conninfo";

/// The timeline that recovery follows. In force from a start on, and what it is by default.
const TARGET: &str = "recovery_target_timeline";

/// A recovery that is to end somewhere would end with a promotion, or with nothing applied any more. Whatever file says so, of a time when
/// the data were restored to a point: no start of a standby ends anywhere.
pub(super) fn endless() -> Vec<Setting> {
    let targets = [
        "recovery_target",
        "recovery_target_lsn",
        "recovery_target_name",
        "recovery_target_time",
        "recovery_target_xid",
    ];
    targets.map(|target| (target, Some(String::new()))).into()
}

/// What a server that follows is told.
pub(super) fn settings(site: &Site, upstream: Option<&Upstream>) -> Vec<Setting> {
    let passfile = site.config.passfile.as_deref();
    let conninfo = upstream.map(|upstream| upstream.for_receiver(&site.node, passfile));
    let slot = upstream.and_then(|upstream| upstream.slot.as_ref());
    let slot = slot.map(|slot| slot.as_str().to_owned());
    vec![
        // Empty means nobody, and not what another file says.
        (CONNINFO, Some(conninfo.unwrap_or_default())),
        ("primary_slot_name", Some(slot.unwrap_or_default())),
        (TARGET, Some("latest".to_owned())),
    ]
}

/// Writes a signal file and settings into a data directory. Blocks.
pub(super) fn write_into(
    layout: &Layout,
    dir: &std::path::Path,
    settings: &[Setting],
) -> Result<(), Trouble> {
    layout.make_standby(dir)?;
    write_settings(layout, dir, settings)
}

/// Writes settings into a data directory, unless they are there already. Blocks.
pub(super) fn write_settings(
    layout: &Layout,
    dir: &std::path::Path,
    settings: &[Setting],
) -> Result<(), Trouble> {
    let file = dir.join("postgresql.auto.conf");
    let text = files::read(&file)?.unwrap_or_default();
    let edited = settings::edit(&text, settings);
    if edited == text {
        return Ok(());
    }
    files::write(&file, &edited, layout.owner)
}

/// Are these settings in a data directory already? Blocks.
pub(super) fn has_settings(dir: &std::path::Path, settings: &[Setting]) -> Result<bool, Trouble> {
    let text = files::read(&dir.join("postgresql.auto.conf"))?.unwrap_or_default();
    Ok(settings::edit(&text, settings) == text)
}

async fn write(site: &Site, settings: Vec<Setting>, deadline: Deadline) -> Result<(), Trouble> {
    let layout = site.layout.clone();
    let write = move || write_into(&layout, &layout.data, &settings);
    site.blocking(deadline, write).await
}

/// Has a running server read its settings again (SIGHUP, as pg_ctl(1) `reload` does).
pub(super) async fn reload(site: &Site, deadline: Deadline) -> Result<(), Trouble> {
    let data = site.layout.data.clone();
    let signal = move || {
        let postmaster = holders::postmaster(&data)?.ok_or(Trouble::NotRunning)?;
        let told = ProcessRef::signal(postmaster, rustix::process::Signal::HUP);
        match told.map_err(Trouble::Processes)? {
            true => Ok(()),
            false => Err(Trouble::NotRunning),
        }
    };
    site.blocking(deadline, signal).await
}

/// Waits until the server shows what was written. It reads its files a moment after it is told to, and never takes what its
/// command line overrides.
pub(super) async fn in_force(
    talk: &mut Talk,
    setting: &'static str,
    wanted: &str,
    deadline: Deadline,
) -> Result<(), Trouble> {
    let sql = format!("SELECT pg_catalog.current_setting('{setting}')");
    let mut shown = None;
    let waiting = async {
        loop {
            let value = talk.value(&sql).await?;
            if value == wanted {
                return Ok(());
            }
            shown = Some(value);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    match (deadline.within(waiting).await, shown) {
        (Err(Trouble::Limit(_)), Some(shown)) => Err(not_in_force(setting, wanted, &shown)),
        (done, _) => done,
    }
}

fn not_in_force(setting: &'static str, wanted: &str, shown: &str) -> Trouble {
    let values = if setting == CONNINFO {
        String::new()
    } else {
        format!(" (\"{shown}\", not \"{wanted}\")")
    };
    Trouble::NotInForce { setting, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_that_others_have_set_is_never_shown() {
        let others = "host=old password=secret";
        let said = not_in_force(CONNINFO, "host='db1'", others).to_string();
        assert!(
            !said.contains("secret") && said.contains(CONNINFO),
            "{said}"
        );
        let said = not_in_force(TARGET, "latest", "current").to_string();
        assert!(
            said.contains("\"latest\"") && said.contains("\"current\""),
            "{said}"
        );
    }
}
